"""Judge the "segmentation" of COCO annotations: what pycocotools would refuse, and what has no area."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

from fcclip.files.coco_json import is_integer

FEW_POINTS = "polygons with fewer than three points or an odd number of coordinates, left out"
FLAT = "polygons written as one flat list of coordinates, taken as one polygon"
Size = tuple[int, int]  # height and width in pixels


class MaskError(ValueError):
    """A segmentation that cannot be used; the message is a clause about it."""


def mend_segmentation(segmentation: Any, size: Size) -> tuple[list[list[float]] | dict[str, Any], list[str]]:
    """A segmentation that pycocotools accepts, and what was mended.

    Args:
        segmentation: polygons, or run lengths as a list of counts or as COCO's compressed string.
        size: of its image.

    Returns:
        The segmentation, polygons without those that have no area (perhaps none are left), and the reasons of `FLAT`
        and `FEW_POINTS` that applied, once for every polygon.

    Raises:
        MaskError: there is no mask, or it is none.
    """
    if not segmentation:
        raise MaskError("has a box but no mask; draw masks, or remove the annotation")
    if isinstance(segmentation, Mapping):
        _check_runs(segmentation, size)
        return dict(segmentation), []
    if not isinstance(segmentation, list):
        raise MaskError(f"has a segmentation of type {type(segmentation).__name__}; it is polygons or run lengths")
    flat = not isinstance(segmentation[0], list)
    polygons = [segmentation] if flat else segmentation
    for polygon in polygons:
        if not isinstance(polygon, list) or not all(_is_number(value) for value in polygon):
            raise MaskError("has a polygon that is no list of numbers")
    kept = [polygon for polygon in polygons if len(polygon) >= 6 and len(polygon) % 2 == 0]
    return kept, [FLAT] * flat + [FEW_POINTS] * (len(polygons) - len(kept))


def encode(segmentation: list[list[float]] | Mapping[str, Any], size: Size) -> dict[str, Any]:
    """Compressed run lengths of polygons or run lengths."""
    if isinstance(segmentation, Mapping):
        if isinstance(segmentation["counts"], list):
            return rle_codec.frPyObjects(dict(segmentation), *size)
        return dict(segmentation)
    return rle_codec.merge(rle_codec.frPyObjects(segmentation, *size))


def area_of(segmentation: list[list[float]] | Mapping[str, Any], size: Size) -> float:
    """Pixels of a segmentation."""
    return float(rle_codec.area(encode(segmentation, size)))


def box_of(segmentation: list[list[float]] | Mapping[str, Any], size: Size) -> list[float]:
    """[x, y, width, height] of a segmentation in pixels."""
    if isinstance(segmentation, Mapping):
        return np.asarray(rle_codec.toBbox(encode(segmentation, size))).tolist()
    points = np.concatenate([np.asarray(polygon, dtype=float).reshape(-1, 2) for polygon in segmentation])
    low, high = points.min(axis=0), points.max(axis=0)
    return [*low.tolist(), *(high - low).tolist()]


def is_box(value: Any) -> bool:
    """Whether a value is [x, y, width, height]."""
    return isinstance(value, Sequence) and len(value) == 4 and all(_is_number(number) for number in value)


def is_area(value: Any) -> bool:
    """Whether a value is a number of pixels."""
    return _is_number(value) and value >= 0


def _check_runs(segmentation: Mapping[str, Any], size: Size) -> None:
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(stated, list | tuple) or tuple(stated) != size:
        raise MaskError(f"has a mask of size {stated!r} (height, width), but its image has {list(size)}")
    if isinstance(counts, list):
        if not all(is_integer(run) and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
            raise MaskError(f"has run lengths that do not add up to the {size[0] * size[1]} pixels of its image")
    elif isinstance(counts, str | bytes):
        try:
            inside = rle_codec.area(dict(segmentation)) <= size[0] * size[1]
        except Exception:  # pycocotools raises unrelated types for strings that are no run lengths
            inside = False
        if not inside:
            raise MaskError("has compressed run lengths that cannot be decoded")
    else:
        raise MaskError('has a mask without "counts"')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
