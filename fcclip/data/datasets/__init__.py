"""Every dataset of the project, registered with Detectron2 when this package is imported; no file is touched then."""

from fcclip.data.datasets import ade20k, cityscapes, coco, lvis, mapillary, panoshapes, pascal, video, zero_shot
from fcclip.data.datasets.registry import REGISTERED, dataset_root

__all__ = [
    "REGISTERED",
    "ade20k",
    "cityscapes",
    "coco",
    "dataset_root",
    "lvis",
    "mapillary",
    "panoshapes",
    "pascal",
    "video",
    "zero_shot",
]
