"""The COCO panoptic format: a PNG per image whose colours are segment ids, and one JSON file that describes them.

Source: https://cocodataset.org/#format-data, "Panoptic Segmentation".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from fcclip.files.atomic import atomic_path, write_json
from fcclip.files.coco_json import (
    index_by_id,
    is_id,
    is_inside,
    is_integer,
    read_categories,
    read_json_object,
    read_list,
)
from fcclip.files.stamps import save_stamped

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
        raise FileNotFoundError(f"panoptic PNG {path} {'is not a file' if path.exists() else 'does not exist'}")
    return decode_panoptic_png(path.read_bytes(), str(path))


def decode_panoptic_png(content: bytes, name: str) -> np.ndarray:
    """Decode the bytes of a panoptic PNG, as `read_panoptic_png` does; errors call it by the name."""
    data = np.frombuffer(content, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if pixels is None:
        raise ValueError(f"{name} is not a readable image")
    if pixels.dtype != np.uint8 or pixels.ndim != 3:
        raise ValueError(f"{name} is no RGB image; the colours of a panoptic PNG are id = R + 256 G + 65536 B")
    # Four bytes a pixel can be read as one little-endian integer, which is far faster than adding channels.
    rgba = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return (rgba.view("<u4")[..., 0] & np.uint32(ID_LIMIT - 1)).view(np.int32)


def write_panoptic_png(path: str | Path, ids: np.ndarray, stamp: str = "") -> None:
    """Write an (H, W) map of segment ids as a panoptic PNG, atomically; `stamp` says what it was made from."""
    if np.ndim(ids) != 2:
        raise ValueError(f"expected an (H, W) map of segment ids, got shape {np.shape(ids)}")
    with atomic_path(path) as scratch:
        save_stamped(Image.fromarray(np.ascontiguousarray(id_to_rgb(ids))), scratch, stamp)


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
        ValueError: it is not JSON, has no list of annotations, or an entry of it lacks a field, has a field of a
            wrong type, or appears twice; names the file and the entry.
    """
    path = Path(path)
    content = read_json_object(path, "panoptic JSON")
    categories = read_categories(content, path)
    images = index_by_id(read_list(content, "images", path, required=False), "images", path)
    annotations: dict[int | str, dict[str, Any]] = {}
    for record in read_list(content, "annotations", path):
        _check_annotation(record, path)
        if record["image_id"] in annotations:
            raise ValueError(f"{path}: image {record['image_id']!r} has two annotations")
        annotations[record["image_id"]] = record
    return PanopticJson(categories, annotations, images)


def _check_annotation(record: Mapping[str, Any], path: Path) -> None:
    """Raise ValueError unless the annotation of an image has all that the format asks for."""
    missing = {"image_id", "file_name", "segments_info"} - record.keys()
    if missing:
        raise ValueError(f"{path}: an annotation has no {', '.join(sorted(missing))}; is it a panoptic JSON file?")
    image_id, name, segments = record["image_id"], record["file_name"], record["segments_info"]
    if not is_id(image_id):
        raise ValueError(f"{path}: an annotation has image_id {image_id!r}; it should be an integer or a string")
    where = f"{path}: the annotation of image {image_id!r}"
    if not isinstance(name, str) or not is_inside(name):
        raise ValueError(f"{where} has file_name {name!r}; it should be a name below the folder of PNGs")
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        raise ValueError(f"{where}: segments_info should be a list of objects")
    seen: set[int] = set()
    for segment in segments:
        id_, category = segment.get("id"), segment.get("category_id")
        if not is_integer(id_) or not 0 < id_ < ID_LIMIT:
            raise ValueError(f"{where} has a segment with the id {id_!r}; ids are integers 1..{ID_LIMIT - 1}")
        if id_ in seen:
            raise ValueError(f"{where} has two segments with the id {id_}")
        seen.add(id_)
        if not is_integer(category):
            raise ValueError(f"{where}: segment {id_} has category_id {category!r}; it should be an integer")
        _check_segment(segment, f"{where}: segment {id_}")


def _check_segment(segment: Mapping[str, Any], where: str) -> None:
    """Raise ValueError if an optional field of a segment cannot be what it should be."""
    area = segment.get("area", 0)
    if isinstance(area, bool) or not isinstance(area, int | float) or not 0 <= area < float("inf"):
        raise ValueError(f"{where} has the area {area!r}; it should be a number of pixels")
    if segment.get("iscrowd", 0) not in (0, 1):
        raise ValueError(f"{where} has iscrowd {segment['iscrowd']!r}; it should be 0 or 1")


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
