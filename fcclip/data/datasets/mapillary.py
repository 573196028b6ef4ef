"""Mapillary Vistas v1.2, panoptic (65 classes)."""

from __future__ import annotations

from functools import partial

from fcclip.data.datasets.layouts import PanopticLayout
from fcclip.data.datasets.registry import DatasetSpec, register
from fcclip.data.datasets.tables import panoptic_table_metadata

_FOLDERS = {"train": ("training", 18000), "val": ("validation", 2000)}


def register_all() -> None:
    """Register the training and validation splits."""
    for split, (folder, size) in _FOLDERS.items():
        root = f"mapillary_vistas/{folder}"
        register(
            DatasetSpec(
                name=f"openvocab_mapillary_vistas_panoptic_{split}",
                classes=partial(panoptic_table_metadata, "mapillary_vistas", only_things_in_thing_classes=False),
                constants={
                    "evaluator_type": "mapillary_vistas_panoptic_seg",
                    "ignore_label": 65,  # the id of unlabelled pixels in the dataset's own label maps
                    "label_divisor": 1000,
                    "json_file": None,
                },
                layout=PanopticLayout(
                    images=f"{root}/images",
                    panoptic=f"{root}/panoptic",
                    panoptic_json=f"{root}/panoptic/panoptic_2018.json",
                    sem_seg=f"{root}/labels",
                ),
                how_to_get="Download Mapillary Vistas v1.2 and unpack it there as datasets/README.md says; "
                "it needs no preparation.",
                sizes=(size,),
            )
        )


register_all()
