"""The user's own datasets, registered by configuration alone: the entries of DATASETS.CUSTOM (docs/datasets.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from fcclip.data.datasets.custom_classes import instance_json_metadata, names_file_metadata, panoptic_json_metadata
from fcclip.data.datasets.layouts import InstanceLayout, PanopticLayout, SemanticLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.files.images import IMAGE_SUFFIXES

DEFAULT_IGNORE_LABEL = 255
_LABEL_SUFFIXES = (".png", ".tif", ".tiff")


@dataclass(frozen=True)
class _Format:
    """Keys of an entry besides NAME and FORMAT; all but IGNORE_LABEL and UNSEEN are paths."""

    required: tuple[str, ...]
    optional: tuple[str, ...]


FORMATS = {
    "coco_panoptic": _Format(("IMAGES", "PANOPTIC", "JSON"), ("LABELS", "INSTANCES_JSON", "NAMES")),
    "coco_instance": _Format(("IMAGES", "JSON"), ("NAMES",)),
    "label_maps": _Format(("IMAGES", "LABELS", "NAMES"), ("IGNORE_LABEL", "UNSEEN")),
}
# Names registered by this module; they may be registered anew, those of other datasets may not.
_registered: set[str] = set()


def register_custom_datasets(cfg: CfgNode) -> list[str]:
    """Register every entry of `cfg.DATASETS.CUSTOM`; no file is read before a dataset is used.

    Returns:
        The names registered. An entry whose name was registered here before replaces it.

    Raises:
        ValueError: an entry has a key too many, too few or of a wrong type, or takes a name that is not free.
    """
    specs = [_spec(entry, f"DATASETS.CUSTOM[{index}]") for index, entry in enumerate(cfg.DATASETS.CUSTOM)]
    names = [spec.name for spec in specs]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f'DATASETS.CUSTOM gives the NAME "{repeated.pop()}" twice')
    for spec in specs:
        register(spec)
        _registered.add(spec.name)
    return names


def _spec(entry: Any, where: str) -> DatasetSpec:
    checked = _check(entry, where)
    make = {"coco_panoptic": _panoptic, "coco_instance": _instance, "label_maps": _label_maps}
    return make[checked["FORMAT"]](checked)


def _check(entry: Any, where: str) -> dict[str, Any]:
    """The entry with paths made explicit, or an error that says what is wrong and what would be right."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} should be a mapping of NAME, FORMAT, IMAGES, ..., it is {entry!r}")
    name, kind = entry.get("NAME"), entry.get("FORMAT")
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where} needs a NAME, under which DATASETS.TRAIN or DATASETS.TEST can list it")
    where = f'{where} ("{name}")'
    if kind not in FORMATS:
        raise ValueError(f"{where}: FORMAT should be one of {', '.join(FORMATS)}, it is {kind!r}")
    if name in DatasetCatalog and name not in _registered:
        raise ValueError(f"{where}: this NAME belongs to another dataset; choose a different one")
    keys = FORMATS[kind]
    unknown = sorted(map(str, set(entry) - {"NAME", "FORMAT", *keys.required, *keys.optional}))
    if unknown:
        raise ValueError(f"{where}: FORMAT {kind} has no key {unknown[0]}; {_describe(keys)}")
    missing = [key for key in keys.required if not entry.get(key)]
    if missing:
        raise ValueError(f"{where}: FORMAT {kind} needs {missing[0]}; {_describe(keys)}")
    ignore_label = entry.get("IGNORE_LABEL", DEFAULT_IGNORE_LABEL)
    if not isinstance(ignore_label, int) or not 0 <= ignore_label < 1 << 16:
        raise ValueError(f"{where}: IGNORE_LABEL should be a number 0..65535, it is {ignore_label!r}")
    unseen = entry.get("UNSEEN", [])
    if not isinstance(unseen, list | tuple) or not all(isinstance(name, str) for name in unseen):
        raise ValueError(f"{where}: UNSEEN should be a list of class names, it is {unseen!r}")
    others = ("IGNORE_LABEL", "UNSEEN")
    paths = {key: entry[key] for key in (*keys.required, *keys.optional) if key not in others and entry.get(key)}
    for key, value in paths.items():
        if not isinstance(value, str):
            raise ValueError(f"{where}: {key} should be a path, it is {value!r}")
    expanded = {key: str(Path(value).expanduser()) for key, value in paths.items()}
    return {"NAME": name, "FORMAT": kind, "IGNORE_LABEL": ignore_label, "UNSEEN": tuple(unseen), **expanded}


def _describe(keys: _Format) -> str:
    return f"it needs {', '.join(keys.required)} and may have {', '.join(keys.optional)}"


def _panoptic(entry: Mapping[str, Any]) -> DatasetSpec:
    return DatasetSpec(
        name=entry["NAME"],
        classes=partial(panoptic_json_metadata, entry["JSON"], entry.get("NAMES")),
        constants={"evaluator_type": "coco_panoptic_seg", "ignore_label": DEFAULT_IGNORE_LABEL, "label_divisor": 1000},
        layout=PanopticLayout(
            images=entry["IMAGES"],
            panoptic=entry["PANOPTIC"],
            panoptic_json=entry["JSON"],
            sem_seg=entry.get("LABELS"),
            instances_json=entry.get("INSTANCES_JSON"),
            image_suffix=None,
        ),
        how_to_get=_how_to_get(entry, ("IMAGES", "PANOPTIC", "JSON", "LABELS")),
    )


def _instance(entry: Mapping[str, Any]) -> DatasetSpec:
    return DatasetSpec(
        name=entry["NAME"],
        classes=partial(instance_json_metadata, entry["JSON"], entry.get("NAMES")),
        constants={"evaluator_type": "coco"},
        layout=InstanceLayout(entry["IMAGES"], entry["JSON"]),
        how_to_get=_how_to_get(entry, ("IMAGES", "JSON")),
    )


def _label_maps(entry: Mapping[str, Any]) -> DatasetSpec:
    return DatasetSpec(
        name=entry["NAME"],
        classes=partial(names_file_metadata, entry["NAMES"], entry["IGNORE_LABEL"], entry["UNSEEN"]),
        constants={"evaluator_type": "sem_seg", "ignore_label": entry["IGNORE_LABEL"]},
        layout=SemanticLayout(
            entry["IMAGES"], entry["LABELS"], label_suffixes=_LABEL_SUFFIXES, image_suffixes=tuple(IMAGE_SUFFIXES)
        ),
        how_to_get=_how_to_get(entry, ("IMAGES", "LABELS")),
    )


def _how_to_get(entry: Mapping[str, Any], keys: Sequence[str]) -> str:
    return f"Correct {', '.join(key for key in keys if key in entry)} of this dataset in DATASETS.CUSTOM."
