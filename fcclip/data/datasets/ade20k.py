"""ADE20K: the 150-class benchmark (panoptic, semantic, instances) and the full set with 847 classes."""

from __future__ import annotations

from functools import partial

from fcclip.data.datasets.layouts import InstanceLayout, PanopticLayout, SemanticLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.tables import instance_table_metadata, panoptic_table_metadata, semantic_table_metadata

_BENCHMARK = "ADEChallengeData2016"
_FULL = "ADE20K_2021_17_01"
_SIZES = {"train": 20210, "val": 2000}
_FULL_SIZES = {"train": 25574, "val": 2000}
_FOLDERS = {"train": "training", "val": "validation"}


def register_all() -> None:
    """Register every ADE20K dataset."""
    for split, folder in _FOLDERS.items():
        _register_panoptic(split, folder)
        _register_semantic(split, folder)
        _register_instances(split, folder)
        _register_full(split, folder)


def _how_to_get(script: str) -> str:
    return f"Download ADE20K as datasets/README.md says, then run {script}."


def _register_panoptic(split: str, folder: str) -> None:
    register(
        DatasetSpec(
            name=f"openvocab_ade20k_panoptic_{split}",
            classes=partial(panoptic_table_metadata, "ade20k_150"),
            constants={"evaluator_type": "ade20k_panoptic_seg", "ignore_label": 255, "label_divisor": 1000},
            layout=PanopticLayout(
                images=f"{_BENCHMARK}/images/{folder}",
                panoptic=f"{_BENCHMARK}/ade20k_panoptic_{split}",
                panoptic_json=f"{_BENCHMARK}/ade20k_panoptic_{split}.json",
                sem_seg=f"{_BENCHMARK}/annotations_detectron2/{folder}",
                instances_json=f"{_BENCHMARK}/ade20k_instance_{split}.json",
            ),
            how_to_get=_how_to_get(
                "`python datasets/prepare_ade20k_sem_seg.py`, `python datasets/prepare_ade20k_pan_seg.py` "
                "and `python datasets/prepare_ade20k_ins_seg.py`"
            ),
            sizes=(_SIZES[split],),
        )
    )


def _register_semantic(split: str, folder: str) -> None:
    register(
        DatasetSpec(
            name=f"openvocab_ade20k_sem_seg_{split}",
            classes=partial(semantic_table_metadata, "ade20k_150"),
            constants={"evaluator_type": "sem_seg", "ignore_label": 255},
            layout=SemanticLayout(f"{_BENCHMARK}/images/{folder}", f"{_BENCHMARK}/annotations_detectron2/{folder}"),
            how_to_get=_how_to_get("`python datasets/prepare_ade20k_sem_seg.py`"),
            sizes=(_SIZES[split],),
        )
    )


def _register_instances(split: str, folder: str) -> None:
    register(
        DatasetSpec(
            name=f"openvocab_ade20k_instance_{split}",
            # The published numbers were measured with the plain names, without synonyms.
            classes=partial(instance_table_metadata, "ade20k_150", plain_names=True),
            constants={"evaluator_type": "coco"},
            layout=InstanceLayout(f"{_BENCHMARK}/images/{folder}", f"{_BENCHMARK}/ade20k_instance_{split}.json"),
            how_to_get=_how_to_get("`python datasets/prepare_ade20k_ins_seg.py`"),
            sizes=(_SIZES[split],),
        )
    )


def _register_full(split: str, folder: str) -> None:
    register(
        DatasetSpec(
            name=f"openvocab_ade20k_full_sem_seg_{split}",
            classes=partial(semantic_table_metadata, "ade20k_847"),
            constants={"evaluator_type": "sem_seg", "ignore_label": 65535, "gt_ext": "tif"},
            layout=SemanticLayout(
                f"{_FULL}/images_detectron2/{folder}",
                f"{_FULL}/annotations_detectron2/{folder}",
                label_suffixes=(".tif",),
            ),
            how_to_get=_how_to_get("`python datasets/prepare_ade20k_full_sem_seg.py`"),
            sizes=(_FULL_SIZES[split],),
        )
    )


register_all()
