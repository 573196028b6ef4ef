"""The COCO panoptic format: a PNG an image whose colours are segment ids, and one JSON file that describes them.

Source: https://cocodataset.org/#format-data, "Panoptic Segmentation".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from fcclip.files.atomic import atomic_path, write_json

VOID = 0  # the segment id of pixels without a segment
ID_LIMIT = 1 << 24  # segment ids have three bytes


def id_to_rgb(ids: np.ndarray) -> np.ndarray:
    """Colours of segment ids: id = R + 256 G + 65536 B.

    Args:
        ids: integer array of any shape, values in [0, 2**24).

    Returns:
        uint8 array, the shape of `ids` plus a last axis of 3.

    Raises:
        ValueError: an id does not fit in three bytes.
    """
    ids = np.asarray(ids)
    if ids.size and (ids.min() < 0 or ids.max() >= ID_LIMIT):
        raise ValueError(f"segment ids must lie in [0, {ID_LIMIT}), these span [{ids.min()}, {ids.max()}]")
    four_bytes = np.ascontiguousarray(ids, dtype="<u4").view(np.uint8).reshape(*ids.shape, 4)
    return four_bytes[..., :3]


def rgb_to_id(rgb: np.ndarray) -> np.ndarray:
    """Segment ids of colours: (..., 3) uint8 -> (...) int32. The inverse of `id_to_rgb`."""
    rgb = np.asarray(rgb)
    if rgb.ndim == 0 or rgb.shape[-1] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"expected uint8 colours of shape (..., 3), got {rgb.dtype} {rgb.shape}")
    ids = rgb[..., 0].astype(np.int32)
    ids += rgb[..., 1].astype(np.int32) << 8
    ids += rgb[..., 2].astype(np.int32) << 16
    return ids


def read_panoptic_png(path: str | Path) -> np.ndarray:
    """Read a panoptic PNG as an (H, W) int32 map of segment ids.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no image, damaged, or not an RGB one.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"panoptic PNG {path} does not exist")
    data = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None:
        raise ValueError(f"{path} is not a readable image")
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ValueError(f"{path} is no RGB image; the colours of a panoptic PNG are id = R + 256 G + 65536 B")
    # Four bytes a pixel can be read as one little-endian integer, which is far faster than adding channels.
    rgba = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return (rgba.view("<u4")[..., 0] & np.uint32(ID_LIMIT - 1)).view(np.int32)


def write_panoptic_png(path: str | Path, ids: np.ndarray) -> None:
    """Write an (H, W) map of segment ids as a panoptic PNG, atomically."""
    if np.ndim(ids) != 2:
        raise ValueError(f"expected an (H, W) map of segment ids, got shape {np.shape(ids)}")
    with atomic_path(path) as scratch:
        Image.fromarray(np.ascontiguousarray(id_to_rgb(ids))).save(scratch, format="PNG")


@dataclass(frozen=True)
class PanopticJson:
    """The content of a panoptic JSON file.

    Attributes:
        categories: category id -> its record (`id`, `name`, `isthing`, `color`); empty in many prediction files.
        annotations: image id -> its record (`image_id`, `file_name` of the PNG, `segments_info`).
        images: image id -> its record (`id`, `file_name`, `height`, `width`); empty in many prediction files.
    """

    categories: dict[int, dict[str, Any]]
    annotations: dict[int | str, dict[str, Any]]
    images: dict[int | str, dict[str, Any]]


def read_panoptic_json(path: str | Path) -> PanopticJson:
    """Read and check a panoptic JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, has no annotations, or an annotation lacks a field or appears twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"panoptic JSON {path} does not exist")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("annotations"), list):
        raise ValueError(f'{path} is not a panoptic JSON file: it has no list "annotations"')
    annotations: dict[int | str, dict[str, Any]] = {}
    for record in content["annotations"]:
        missing = {"image_id", "file_name", "segments_info"} - record.keys()
        if missing:
            raise ValueError(f"{path}: an annotation has no {', '.join(sorted(missing))}; is it a panoptic JSON file?")
        if any("id" not in segment or "category_id" not in segment for segment in record["segments_info"]):
            raise ValueError(f"{path}: a segment of image {record['image_id']} has no id or no category_id")
        if record["image_id"] in annotations:
            raise ValueError(f"{path}: image {record['image_id']} has two annotations")
        annotations[record["image_id"]] = record
    return PanopticJson(
        categories={category["id"]: category for category in content.get("categories", ())},
        annotations=annotations,
        images={image["id"]: image for image in content.get("images", ())},
    )


def write_panoptic_json(
    path: str | Path,
    annotations: Iterable[Mapping[str, Any]],
    categories: Iterable[Mapping[str, Any]] = (),
    images: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Write a panoptic JSON file, atomically; the records are as in `PanopticJson`."""
    write_json(path, {"images": list(images), "annotations": list(annotations), "categories": list(categories)})


def measure_segments(ids: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copy segment records and add what can be counted on the map.

    Args:
        ids: (H, W) segment ids.
        segments: records with at least `id`; other fields are kept.

    Returns:
        The records with `area` (pixels), `bbox` ([x, y, width, height] in pixels) and `iscrowd` (0 unless given).

    Raises:
        ValueError: a segment has no pixel.
    """
    described = []
    for segment in segments:
        mask = ids == segment["id"]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not rows.size:
            raise ValueError(f"segment {segment['id']} has no pixel in the map")
        top, left = int(rows[0]), int(columns[0])
        bbox = [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
        described.append({"iscrowd": 0, **segment, "area": int(np.count_nonzero(mask)), "bbox": bbox})
    return described
