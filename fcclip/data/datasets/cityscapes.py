"""Cityscapes, panoptic (fine annotations, 19 classes)."""

from __future__ import annotations

from functools import partial

from fcclip.data.datasets.layouts import CityscapesLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.tables import panoptic_table_metadata

_SIZES = {"train": 2975, "val": 500}


def register_all() -> None:
    """Register the training and validation splits."""
    for split, size in _SIZES.items():
        register(
            DatasetSpec(
                name=f"openvocab_cityscapes_fine_panoptic_{split}",
                classes=partial(
                    panoptic_table_metadata,
                    "cityscapes",
                    stuff_map_has_things=False,
                    only_things_in_thing_classes=False,
                ),
                constants={"evaluator_type": "cityscapes_panoptic_seg", "ignore_label": 255, "label_divisor": 1000},
                layout=CityscapesLayout(
                    images=f"cityscapes/leftImg8bit/{split}",
                    labels=f"cityscapes/gtFine/{split}",
                    panoptic=f"cityscapes/gtFine/cityscapes_panoptic_{split}",
                    panoptic_json=f"cityscapes/gtFine/cityscapes_panoptic_{split}.json",
                ),
                how_to_get="Download Cityscapes as datasets/README.md says, then run "
                "`python datasets/prepare_cityscapes_pan_seg.py`.",
                sizes=(size,),
            )
        )


register_all()
