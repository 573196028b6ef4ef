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
