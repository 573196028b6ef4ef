"""LVIS v1 instances with 1203 open-vocabulary class strings (this project's addition to the published list)."""

from __future__ import annotations

from typing import Any

from fcclip.data.datasets.layouts import LvisLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.tables import category_table, vocabulary_lines

_SIZES = {"train": 100170, "val": 19809}


def lvis_classes() -> dict[str, Any]:
    """Class metadata of LVIS v1: ids 1..1203, coloured like COCO's classes over and over."""
    lines = vocabulary_lines("lvis_1203")
    colors = category_table("coco_panoptic").colors
    ids = tuple(id_ for id_, _ in lines)
    return {
        "thing_classes": [string for _, string in lines],
        "thing_colors": [list(colors[index % len(colors)]) for index in range(len(lines))],
        "thing_dataset_id_to_contiguous_id": {id_: index for index, id_ in enumerate(ids)},
        "vocabulary": "lvis_1203",
        "vocabulary_ids": ids,
    }


def register_all() -> None:
    """Register the training and validation splits."""
    for split, size in _SIZES.items():
        register(
            DatasetSpec(
                name=f"openvocab_lvis_v1_{split}",
                classes=lvis_classes,
                constants={"evaluator_type": "lvis"},
                layout=LvisLayout("coco", f"lvis/lvis_v1_{split}.json"),
                how_to_get="Download COCO 2017's images and LVIS v1's annotations as datasets/README.md says; "
                "they need no preparation.",
                sizes=(size,),
            )
        )


register_all()
