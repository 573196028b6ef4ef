"""Judge the "segmentation" of COCO annotations: what pycocotools would refuse, and what has no area."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from pycocotools import mask as rle_codec

from fcclip.files.coco_json import is_integer

FEW_POINTS = "polygons with fewer than three points or an odd number of coordinates, left out"
FLAT = "polygons written as one flat list of coordinates, taken as one polygon"
FAR = 10  # times the longer side of an image: what lies beyond is no place in it
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
        # pycocotools walks along every edge: one coordinate of 1e30 would fill the memory.
        if not all(map(partial(_is_near, size=size), polygon)):
            raise MaskError(f"has a polygon that leads to {max(polygon, key=abs):g}, far outside its image")
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


def runs_of(counts: str | bytes) -> list[int] | None:
    """The lengths that COCO's compressed text stands for; None if it stands for none.

    pycocotools reads any text, and fills what is missing with whatever lies in memory.

    Source: `rleFrString` of the COCO API, told in words: five bits a letter, the lowest first, with a bit that says
    whether more follow; from the third length on, the difference to the one before the last.

    Example:
        >>> runs_of("52203")
        [5, 2, 2, 2, 5]
    """
    data = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    runs: list[int] = []
    value = shift = 0
    for letter in data:
        bits = letter - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return None if shift else runs


def is_box(value: Any, size: Size) -> bool:
    """Whether a value is [x, y, width, height] of something in an image."""
    if not isinstance(value, Sequence) or len(value) != 4 or not all(map(_is_number, value)):
        return False
    return all(map(partial(_is_near, size=size), value)) and min(value[2:]) >= 0


def is_area(value: Any, size: Size) -> bool:
    """Whether a value is a number of pixels of an image."""
    return _is_number(value) and 0 <= value <= FAR * size[0] * size[1]


def _check_runs(segmentation: Mapping[str, Any], size: Size) -> None:
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(stated, list | tuple) or tuple(stated) != size:
        raise MaskError(f"has a mask of size {stated!r} (height, width), but its image has {list(size)}")
    if isinstance(counts, list):
        if not all(is_integer(run) and run >= 0 for run in counts) or sum(counts) != size[0] * size[1]:
            raise MaskError(f"has run lengths that do not add up to the {size[0] * size[1]} pixels of its image")
    elif isinstance(counts, str | bytes):
        runs = runs_of(counts)
        if runs is None or min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
            raise MaskError("has compressed run lengths that are damaged, or not of its image")
    else:
        raise MaskError('has a mask without "counts"')


def _is_near(value: float, size: Size) -> bool:
    return abs(value) <= FAR * max(size)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
