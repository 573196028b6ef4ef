"""Reading the files of a dataset record, with errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fcclip.files import images

CHANNEL_ORDERS = {"RGB": slice(None), "BGR": slice(None, None, -1)}


def read_image(record: Mapping[str, Any], image_format: str) -> np.ndarray:
    """Read the image of a record.

    Returns:
        (H, W, 3) uint8 in the channel order `image_format`, RGB or BGR.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or its size is not the record's "height" and "width".
    """
    path = record["file_name"]
    image = images.read_image(path)[:, :, CHANNEL_ORDERS[image_format]]
    expected = (record.get("height", image.shape[0]), record.get("width", image.shape[1]))
    if image.shape[:2] != expected:
        raise ValueError(
            f"image {path} is {image.shape[1]} x {image.shape[0]} pixels, but its annotation says {expected[1]} x "
            f"{expected[0]}; the annotations belong to other images"
        )
    return image


def require_key(record: Mapping[str, Any], key: str, mapper: str) -> Any:
    """The value of a key without which a mapper cannot work.

    Raises:
        ValueError: the record does not have it; says which mapper wanted it.
    """
    if record.get(key) is None:
        raise ValueError(
            f'the record of {record["file_name"]} has no "{key}", which the mapper {mapper} needs; choose '
            f"INPUT.DATASET_MAPPER_NAME for the kind of annotations that DATASETS.TRAIN has"
        )
    return record[key]


def require_same_size(path: str, labels: np.ndarray, image: np.ndarray) -> None:
    """Make sure that a label map (H, W) and its image (H, W, 3) have one size.

    Raises:
        ValueError: they have not; names the label map.
    """
    if labels.shape != image.shape[:2]:
        raise ValueError(
            f"label map {path} has size {labels.shape[1]} x {labels.shape[0]}, but its image {image.shape[1]} x "
            f"{image.shape[0]}"
        )


def require_labels(path: str, labels: np.ndarray, classes: int, ignore_label: int) -> None:
    """Make sure that every label of an (H, W) map is a class or `ignore_label`.

    Raises:
        ValueError: one is not; names the file and the label.
    """
    if not labels.size or (labels.max() < classes and labels.min() >= 0):
        return
    wrong = labels[((labels >= classes) | (labels < 0)) & (labels != ignore_label)]
    if wrong.size:
        raise ValueError(
            f"label map {path} has the label {wrong[0]}, but there are {classes} classes, 0..{classes - 1} (and "
            f"{ignore_label} for ignored pixels); correct the names, or renumber the label maps with "
            "`python datasets/prepare_own_label_maps.py`"
        )
