"""A small made dataset record with panoptic, semantic and instance annotations of the same picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcclip.files.panoptic import write_panoptic_png

HEIGHT, WIDTH = 60, 90
SEGMENTS = [
    {"id": 7, "category_id": 0, "iscrowd": 0},
    {"id": 1_000_000, "category_id": 2, "iscrowd": 0},
    {"id": 513, "category_id": 1, "iscrowd": 1},
    {"id": 70_000, "category_id": 2, "iscrowd": 0},
]
TRIANGLE = [12.0, 5.0, 40.0, 9.0, 20.0, 50.0]
SQUARE = [60.0, 10.0, 85.0, 10.0, 85.0, 35.0, 60.0, 35.0]


def seed_augmentations(seed: int) -> None:
    """Detectron2's augmentations draw from NumPy's global generator."""
    np.random.seed(seed)  # noqa: NPY002


def segment_ids() -> np.ndarray:
    """(60, 90) ids: four segments and a border without any."""
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    ids[2:30, 2:50] = 7
    ids[2:30, 50:88] = 1_000_000
    ids[30:58, 2:20] = 513
    ids[30:58, 20:88] = 70_000
    return ids


def label_map() -> np.ndarray:
    """(60, 90) class ids of the segments, 255 where there is none."""
    labels = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    for segment in SEGMENTS:
        labels[segment_ids() == segment["id"]] = segment["category_id"]
    return labels


def write_record(folder: Path, *kinds: str) -> dict[str, Any]:
    """Write the files and give the record with annotations of `kinds`: panoptic, semantic, instance."""
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    record: dict[str, Any] = {"file_name": str(folder / "image.png"), "image_id": 3}
    if "panoptic" in kinds:
        write_panoptic_png(folder / "panoptic.png", segment_ids())
        record |= {"pan_seg_file_name": str(folder / "panoptic.png"), "segments_info": SEGMENTS}
    if "semantic" in kinds:
        Image.fromarray(label_map()).save(folder / "labels.png")
        record["sem_seg_file_name"] = str(folder / "labels.png")
    if "instance" in kinds:
        record["annotations"] = [
            {"category_id": 0, "segmentation": [TRIANGLE], "iscrowd": 0},
            {"category_id": 1, "segmentation": [SQUARE], "iscrowd": 0},
            {"category_id": 1, "segmentation": [SQUARE], "iscrowd": 1},
        ]
    return record
