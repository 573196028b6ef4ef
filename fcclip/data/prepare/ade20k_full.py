"""The full ADE20K (2021_17_01) with 847 classes: images no larger than needed, and 16-bit label maps.

The archive's index, a pickle, is not read: a pickle can run any code, and all that is needed from it (which images
there are, and of which split) is in the file names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fcclip.data.datasets.tables import category_table
from fcclip.data.prepare.jobs import Options, Output, count_outputs, run_jobs
from fcclip.data.prepare.label_maps import lookup_table, read_pixels, renumber, write_label_map
from fcclip.files.atomic import atomic_path
from fcclip.files.stamps import is_current, save_stamped, stamp_of

IGNORE = 65535
SHORT_SIDE = 512
_LABELS = 26 * 256  # red / 10 is at most 25


@dataclass(frozen=True)
class _Job:
    """An image with its segmentation, and the two files to write."""

    image: Path
    segmentation: Path
    image_target: Path
    label_target: Path


def prepare(options: Options) -> list[Output]:
    """ADE20K_2021_17_01/images/ADE -> images_detectron2/*.jpg and annotations_detectron2/*.tif.

    Larger images are scaled so that their shorter side is 512; every JPEG is encoded anew at Pillow's default quality,
    as it was for the published numbers.
    """
    base = options.root / "ADE20K_2021_17_01"
    jobs = [_job(image, base) for image in find_images(base / "images")]
    if not jobs:
        raise FileNotFoundError(
            f"{base / 'images'} has no ADE_*.jpg with its ADE_*_seg.png; unpack ADE20K_2021_17_01 there"
        )
    table = category_table("ade20k_847")
    classes = lookup_table({id_: index for index, id_ in enumerate(table.ids)}, IGNORE, _LABELS)
    written = run_jobs(partial(_convert, classes=classes), jobs, options.workers, "ADE20K, 847 classes", unit="image")
    outputs = []
    for folder in ("training", "validation"):
        flags = [flag for flag, job in zip(written, jobs, strict=True) if job.image_target.parent.name == folder]
        outputs.append(count_outputs(base / "images_detectron2" / folder, [image for image, _ in flags]))
        outputs.append(count_outputs(base / "annotations_detectron2" / folder, [labels for _, labels in flags]))
    return outputs


def find_images(folder: Path) -> Iterator[Path]:
    """Every JPEG that has a `_seg.png` beside it, in a fixed order; folders of object masks are not entered."""
    for parent, folders, names in os.walk(folder):
        present = set(names)
        folders[:] = sorted(name for name in folders if f"{name}.jpg" not in present)
        for name in sorted(names):
            if name.endswith(".jpg") and f"{name.removesuffix('.jpg')}_seg.png" in present:
                yield Path(parent) / name


def _job(image: Path, base: Path) -> _Job:
    # ADE_val_00000001.jpg; names other than ADE_train_* and ADE_val_* belong to the training set.
    split = "validation" if image.stem.split("_")[1:2] == ["val"] else "training"
    return _Job(
        image=image,
        segmentation=image.with_name(f"{image.stem}_seg.png"),
        image_target=base / "images_detectron2" / split / image.name,
        label_target=base / "annotations_detectron2" / split / f"{image.stem}.tif",
    )


def _convert(job: _Job, classes: np.ndarray) -> tuple[bool, bool]:
    """Write what is not there or was made of other files; whether the image and the label map were written."""
    image_stamp, label_stamp = stamp_of([job.image]), stamp_of([job.segmentation], classes.tobytes())
    write_image = not is_current(job.image_target, image_stamp)
    write_labels = not is_current(job.label_target, label_stamp)
    if write_image:
        image = read_pixels(job.image, "RGB")
        size = target_size(*image.shape[:2])
        resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR) if size else image
        with atomic_path(job.image_target) as scratch:
            save_stamped(Image.fromarray(resized), scratch, image_stamp)
    if write_labels:
        labels = renumber(class_ids(read_pixels(job.segmentation, "RGB")), classes, job.segmentation)
        size = target_size(*labels.shape)
        resized = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST) if size else labels
        write_label_map(job.label_target, resized, label_stamp)
    return write_image, write_labels


def class_ids(colors: np.ndarray) -> np.ndarray:
    """ADE20K's class ids of a `_seg.png`: (H, W, 3) uint8 -> (H, W) int32, floor(R / 10) * 256 + G."""
    red, green = colors[..., 0].astype(np.int32), colors[..., 1].astype(np.int32)
    return red // 10 * 256 + green


def target_size(height: int, width: int) -> tuple[int, int] | None:
    """(width, height) whose shorter side is 512, or None for an image that is small enough."""
    if min(height, width) <= SHORT_SIDE:
        return None
    if width >= height:
        return round(width / height * SHORT_SIDE), SHORT_SIDE
    return SHORT_SIDE, round(height / width * SHORT_SIDE)
