"""The named masks of a result: what formats with one entry per object or region are written from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
from scipy import ndimage

from fcclip.drawing.labels import Box
from fcclip.drawing.style import View
from fcclip.formats.result import Result

VIEWS: tuple[View, ...] = get_args(View)


@dataclass(frozen=True, eq=False)
class NamedMask:
    """One object or region.

    Attributes:
        id: the segment's id; of instances and classes their position, from 1.
        name: of its class.
        category_id: position of its class in the vocabulary.
        is_thing: a countable object.
        score: 0..1; None in the semantic view, which has none.
        box: (x0, y0, x1, y1) in pixels, tight around the mask; x1 and y1 lie just outside.
        crop: (y1 - y0, x1 - x0) bool, the mask within its box.
    """

    id: int
    name: str
    category_id: int
    is_thing: bool
    score: float | None
    box: Box
    crop: np.ndarray

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.crop))

    def full(self, size: tuple[int, int]) -> np.ndarray:
        """The mask in the whole picture: (height, width) bool."""
        x0, y0, x1, y1 = self.box
        mask = np.zeros(size, bool)
        mask[y0:y1, x0:x1] = self.crop
        return mask


def choose_view(result: Result, view: View | None) -> View:
    """`view` itself, or by default the first of panoptic, semantic and instances that the result has.

    Raises:
        ValueError: the result lacks what was asked for.
    """
    there = [name for name in VIEWS if getattr(result, name) is not None]
    if view is None:
        return there[0]
    if view not in there:
        raise ValueError(f'there is no {view} result to show; the model gave {" and ".join(there)}, or see "view"')
    return view


def named_masks(result: Result, view: View | None = None) -> Iterator[NamedMask]:
    """The masks of a view, one at a time; masks without a pixel are left out.

    Args:
        result: what was found.
        view: "panoptic" (segments), "semantic" (one mask per class) or "instances" (may overlap); by default the first
            of these that the result has.
    """
    yield from {"panoptic": _segments, "semantic": _classes, "instances": _instances}[choose_view(result, view)](result)


def _segments(result: Result) -> Iterator[NamedMask]:
    assert result.panoptic is not None
    for segment in result.segments:
        x0, y0, x1, y1 = segment.box
        crop = result.panoptic[y0:y1, x0:x1] == segment.id
        yield NamedMask(
            segment.id, segment.name, segment.category_id, segment.is_thing, segment.score, segment.box, crop
        )


def _classes(result: Result) -> Iterator[NamedMask]:
    assert result.semantic is not None
    extents = ndimage.find_objects(result.semantic.astype(np.int32) + 1)
    for category_id, _ in result.semantic_areas():
        rows, columns = extents[category_id]
        crop = result.semantic[rows, columns] == category_id
        box = (columns.start, rows.start, columns.stop, rows.stop)
        yield _of_class(result, category_id + 1, category_id, None, box, crop)


def _instances(result: Result) -> Iterator[NamedMask]:
    instances = result.instances
    assert instances is not None
    for index, mask in enumerate(instances.masks):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
            crop = mask[box[1] : box[3], box[0] : box[2]]
            category_id = int(instances.category_ids[index])
            yield _of_class(result, index + 1, category_id, float(instances.scores[index]), box, crop)


def _of_class(
    result: Result, index: int, category_id: int, score: float | None, box: Box, crop: np.ndarray
) -> NamedMask:
    is_thing = category_id in result.vocabulary.thing_ids
    return NamedMask(index, result.name_of(category_id), category_id, is_thing, score, box, crop)
