"""Whether things that belong together agree: names of datasets, the classes of several training sets, seen classes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

ZERO_SHOT_MAPPER = "zero_shot"  # the only mapper that hides unseen classes from the model


def validate_datasets(cfg: CfgNode, training: bool = True) -> None:
    """Judge the datasets before any work starts: load them, and compare their classes.

    Args:
        cfg: its DATASETS.TEST and, for a training, DATASETS.TRAIN.
        training: false for an evaluation alone, which needs no training images.

    Raises:
        FileNotFoundError: files of a dataset are missing.
        ValueError: a name is unknown, annotations are wrong, or the datasets do not fit each other or the model.
    """
    names = [*(cfg.DATASETS.TRAIN if training else ()), *cfg.DATASETS.TEST]
    require_known(names)
    if training:
        require_same_classes(cfg.DATASETS.TRAIN)
        _require_unseen_hidden(cfg)
    for name in dict.fromkeys(names):
        DatasetCatalog.get(name)


def require_known(names: Sequence[str]) -> None:
    """Make sure that every dataset is registered.

    Raises:
        ValueError: one is not; says which names are similar.
    """
    for name in names:
        if name not in DatasetCatalog:
            similar = difflib.get_close_matches(name, list(DatasetCatalog), n=3)
            hint = (
                f"did you mean {', '.join(similar)}?" if similar else "`python -m fcclip.data.check --list` lists all"
            )
            raise ValueError(f'there is no dataset "{name}"; {hint}')


def require_same_classes(names: Sequence[str]) -> None:
    """Make sure that the records of several datasets may be mixed.

    Classes are compared by name: a model is trained with the names of the first dataset, so that class 0 must be the
    same in all of them.

    Raises:
        ValueError: names, order, things or the ignore label differ.
    """
    if len(names) < 2:
        return
    first = MetadataCatalog.get(names[0])
    for name in names[1:]:
        other = MetadataCatalog.get(name)
        ours, theirs = _class_strings(first), _class_strings(other)
        if ours != theirs:
            where = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
            what = (
                f"{len(ours)} and {len(theirs)} classes"
                if where is None
                else f'class {where} is "{ours[where]}" in the one and "{theirs[where]}" in the other'
            )
            raise ValueError(
                f"DATASETS.TRAIN mixes {names[0]} and {name}, which number their classes differently: {what}; "
                "give both the same names in the same order"
            )
        for key, what in (("ignore_label", "ignore label"), ("thing_dataset_id_to_contiguous_id", "things")):
            if _value(first, key) != _value(other, key):
                raise ValueError(
                    f"DATASETS.TRAIN mixes {names[0]} and {name}, whose {what} differ: {_value(first, key)} and "
                    f"{_value(other, key)}; prepare both alike"
                )


def _require_unseen_hidden(cfg: CfgNode) -> None:
    if cfg.INPUT.DATASET_MAPPER_NAME == ZERO_SHOT_MAPPER:
        return
    for name in cfg.DATASETS.TRAIN:
        unseen = MetadataCatalog.get(name).get("unseen_classes")
        if unseen:
            raise ValueError(
                f'the training set "{name}" marks {len(unseen)} classes as unseen, but {cfg.MODEL.META_ARCHITECTURE} '
                f"with INPUT.DATASET_MAPPER_NAME {cfg.INPUT.DATASET_MAPPER_NAME} trains on all of its classes; remove "
                "UNSEEN, or train on a dataset without objects of these classes"
            )


def _class_strings(metadata: Any) -> list[str]:
    return metadata.get("stuff_classes") or metadata.get("thing_classes") or []


def _value(metadata: Any, key: str) -> Any:
    value = metadata.get(key)
    return sorted(value.values()) if isinstance(value, Mapping) else value
