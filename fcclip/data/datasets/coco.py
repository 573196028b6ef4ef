"""COCO: panoptic with semantic, instances, and COCO-Stuff."""

from __future__ import annotations

from functools import partial
from typing import Any

from fcclip.data.datasets.layouts import InstanceLayout, PanopticLayout, SemanticLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.tables import instance_table_metadata, panoptic_table_metadata, semantic_table_metadata

SPLIT_SIZES = {"train": 118287, "val": 5000}
_DOWNLOAD = "Download COCO 2017 (images, instance and panoptic annotations) as datasets/README.md says"
_PREPARE_PANOPTIC = f"{_DOWNLOAD}, then run `python datasets/prepare_coco_semantic_annos_from_panoptic_annos.py`"
_PREPARE_STUFF = f"{_DOWNLOAD}, unpack stuffthingmaps, then run `python datasets/prepare_coco_stuff_sem_seg.py`"


def register_all() -> None:
    """Register every COCO dataset."""
    for split, size in SPLIT_SIZES.items():
        _register_panoptic(split, size)
        _register_instances(split, size)
    for name, split in (("train", "train"), ("test", "val")):
        _register_stuff(name, split, SPLIT_SIZES[split])


def _panoptic_classes() -> dict[str, Any]:
    classes = panoptic_table_metadata("coco_panoptic")
    return {**classes, "contiguous_id_to_class_name": list(classes["stuff_classes"])}


def _thing_names() -> dict[str, Any]:
    classes = panoptic_table_metadata("coco_panoptic")
    return {key: classes[key] for key in ("thing_classes", "thing_colors")}


def _register_panoptic(split: str, size: int) -> None:
    register(
        DatasetSpec(
            name=f"openvocab_coco_2017_{split}_panoptic_with_sem_seg",
            classes=_panoptic_classes,
            constants={"evaluator_type": "coco_panoptic_seg", "ignore_label": 255, "label_divisor": 1000},
            layout=PanopticLayout(
                images=f"coco/{split}2017",
                panoptic=f"coco/panoptic_{split}2017",
                panoptic_json=f"coco/annotations/panoptic_{split}2017.json",
                sem_seg=f"coco/panoptic_semseg_{split}2017",
                instances_json=f"coco/annotations/instances_{split}2017.json",
                integer_ids=True,
            ),
            how_to_get=f"{_PREPARE_PANOPTIC}.",
            sizes=(size,),
        )
    )
    # Code written for the published release looks the names of things up here.
    register(DatasetSpec(name=f"openvocab_coco_2017_{split}_panoptic", classes=_thing_names))


def _register_instances(split: str, size: int) -> None:
    register(
        DatasetSpec(
            name=f"openvocab_coco_2017_{split}",
            classes=partial(instance_table_metadata, "coco_panoptic"),
            constants={"evaluator_type": "coco"},
            layout=InstanceLayout(f"coco/{split}2017", f"coco/annotations/instances_{split}2017.json"),
            how_to_get=f"{_DOWNLOAD}.",
            sizes=(size,),
        )
    )


def _register_stuff(name: str, split: str, size: int) -> None:
    register(
        DatasetSpec(
            name=f"openvocab_coco_2017_{name}_stuff_sem_seg",
            classes=partial(semantic_table_metadata, "coco_stuff"),
            constants={"evaluator_type": "sem_seg", "ignore_label": 255},
            layout=SemanticLayout(f"coco/{split}2017", f"coco/stuffthingmaps_detectron2/{split}2017"),
            how_to_get=f"{_PREPARE_STUFF}.",
            sizes=(size,),
        )
    )


register_all()
