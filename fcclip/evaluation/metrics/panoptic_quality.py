"""Panoptic quality (PQ), counted exactly as the COCO panoptic reference does.

PQ = sum of IoU over matched segments / (TP + FP/2 + FN/2) = SQ x RQ, for every class on its own, then averaged over
the classes that occur in the ground truth or among the counted predictions.

Source: Kirillov et al., "Panoptic Segmentation", CVPR 2019, section 4, and https://github.com/cocodataset/panopticapi.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from fcclip.evaluation.metrics.histogram import count_pairs
from fcclip.files.panoptic import VOID

Segment = Mapping[str, Any]
# Per class of one image: category id, summed IoU, TP, FP, FN; JSON-able.
CategoryCounts = dict[str, list[float]]


class PanopticInputError(ValueError):
    """A map and its list of segments do not fit together, or do not fit the ground truth."""


@dataclass(frozen=True)
class Overlaps:
    """Pixels that ground-truth and predicted segments share, as dense matrices over the lists of segments.

    Attributes:
        shared: (G, P) pixels of both.
        void: (P,) pixels of a predicted segment that are void in the ground truth.
        true_area: (G,) pixels of the ground-truth segments.
        predicted_area: (P,) pixels of the predicted segments.
    """

    shared: np.ndarray
    void: np.ndarray
    true_area: np.ndarray
    predicted_area: np.ndarray


def count_image(
    true_map: np.ndarray,
    true_segments: Sequence[Segment],
    predicted_map: np.ndarray,
    predicted_segments: Sequence[Segment],
    categories: Collection[int],
) -> CategoryCounts:
    """Match the segments of one image and count, class by class.

    A predicted and a true segment of one class match if their IoU, without the pixels that are void in the ground
    truth, is above 0.5. A prediction without a match is no error if more than half of it lies on void pixels or on
    the crowd region of its class; crowd regions themselves are neither found nor missed.

    Args:
        true_map: (H, W) ids of ground-truth segments, 0 = void.
        true_segments: records with `id`, `category_id` and, optionally, `iscrowd` and `area`. As in the reference, a
            given `area` counts even where the map says otherwise, unless that makes an IoU larger than 1.
        predicted_map: (H, W) ids of predicted segments, 0 = nothing.
        predicted_segments: records with `id` and `category_id`.
        categories: the category ids that there are.

    Returns:
        For the classes with a non-zero count, lists of equal length: `category`, `iou` (sum), `tp`, `fp`, `fn`.

    Raises:
        PanopticInputError: maps of different size, a segment without pixels, pixels without a segment, a
            category id that is not among `categories`, or an area that cannot be.

    Examples:
        >>> true, found = np.array([[1, 1, 1, 2]]), np.array([[5, 5, 5, 0]])
        >>> cat, dog = {"id": 1, "category_id": 3}, {"id": 2, "category_id": 4}
        >>> counts = count_image(true, [cat, dog], found, [{"id": 5, "category_id": 3}], (3, 4))
        >>> [(name, counts[name]) for name in ("category", "tp", "fn")]
        [('category', [3, 4]), ('tp', [1, 0]), ('fn', [0, 1])]
    """
    if true_map.shape != predicted_map.shape:
        raise PanopticInputError(
            f"the prediction has {predicted_map.shape} pixels, the ground truth {true_map.shape} (height, width)"
        )
    _check_categories(predicted_segments, categories, "predicted")
    _check_categories(true_segments, categories, "ground-truth")
    overlaps = _overlaps(true_map, true_segments, predicted_map, predicted_segments)
    return count_overlaps(overlaps, true_segments, predicted_segments)


def _check_categories(segments: Sequence[Segment], categories: Collection[int], whose: str) -> None:
    unknown = sorted({segment["category_id"] for segment in segments} - set(categories))
    if unknown:
        raise PanopticInputError(f"a {whose} segment has category id {unknown[0]}, which the ground truth lacks")


def _overlaps(
    true_map: np.ndarray, true_segments: Sequence[Segment], predicted_map: np.ndarray, segments: Sequence[Segment]
) -> Overlaps:
    pairs = count_pairs(true_map, predicted_map)
    true_rows = {segment["id"]: row for row, segment in enumerate(true_segments)}
    columns = {segment["id"]: column for column, segment in enumerate(segments)}
    if len(columns) != len(segments):
        raise PanopticInputError("two predicted segments have the same id")
    shared = np.zeros((len(true_segments), len(segments)), np.int64)
    void, true_area = np.zeros(len(segments), np.int64), np.zeros(len(true_segments), np.int64)
    predicted_area = np.zeros(len(segments), np.int64)
    for true_id, predicted_id, pixels in zip(*(column.tolist() for column in pairs), strict=True):
        row, column = true_rows.get(true_id), columns.get(predicted_id)
        if column is None and predicted_id != VOID:
            raise PanopticInputError(f"pixels have segment id {predicted_id}, which the list of segments does not have")
        if row is not None:
            true_area[row] += pixels
        if column is None:
            continue
        predicted_area[column] += pixels
        if row is not None:
            shared[row, column] = pixels
        elif true_id == VOID:
            void[column] = pixels
    for segment, area in zip(segments, predicted_area, strict=True):
        if area == 0:
            raise PanopticInputError(f"segment {segment['id']} is listed but has no pixel in the map")
    counted = zip(true_segments, true_area.tolist(), strict=True)
    areas = [_area(segment, pixels, true_map.size) for segment, pixels in counted]
    return Overlaps(shared, void, np.asarray(areas, dtype=np.float64), predicted_area)


def _area(segment: Segment, counted: int, pixels: int) -> float:
    """The area of a ground-truth segment: as stated, or counted where it is not stated."""
    area = segment.get("area")
    if area is None:
        return counted
    known = isinstance(area, Real) and not isinstance(area, bool)
    if not known or not min(counted, 1) <= area <= pixels:
        raise PanopticInputError(
            f"ground-truth segment {segment['id']} has {counted} pixels, but its stated area is {area!r}; correct the "
            "JSON, or leave the areas out"
        )
    return float(area)


def count_overlaps(overlaps: Overlaps, true_segments: Sequence[Segment], segments: Sequence[Segment]) -> CategoryCounts:
    """Match segments whose overlaps are known, and count as `count_image` does."""
    true_class = np.array([segment["category_id"] for segment in true_segments], dtype=np.int64)
    predicted_class = np.array([segment["category_id"] for segment in segments], dtype=np.int64)
    crowd = np.array([segment.get("iscrowd", 0) == 1 for segment in true_segments], dtype=bool)
    union = overlaps.predicted_area + overlaps.true_area[:, None] - overlaps.shared - overlaps.void
    candidates = (true_class[:, None] == predicted_class) & ~crowd[:, None] & (overlaps.shared > 0)
    impossible = np.argwhere(candidates & (union < overlaps.shared))  # an intersection is never larger than a segment
    if len(impossible):
        row = int(impossible[0, 0])
        raise PanopticInputError(
            f"ground-truth segment {true_segments[row]['id']} has an area of {overlaps.true_area[row]:g} in the JSON, "
            f"but {overlaps.shared[row].sum()} pixels of it were found; correct the JSON, or leave the areas out"
        )
    iou = np.divide(overlaps.shared, union, where=candidates, out=np.zeros(union.shape))
    matched = iou > 0.5
    missed = ~matched.any(axis=1) & ~crowd
    excused = overlaps.void.copy()
    # Of several crowd regions of a class the reference knows the last one only.
    last_crowd = {int(true_class[row]): row for row in np.flatnonzero(crowd)}
    for column, category in enumerate(predicted_class.tolist()):
        if category in last_crowd:
            excused[column] += overlaps.shared[last_crowd[category], column]
    wrong = ~matched.any(axis=0) & ~(excused / np.maximum(overlaps.predicted_area, 1) > 0.5)
    return _by_category(
        [(int(predicted_class[column]), float(iou[row, column]), 1, 0, 0) for row, column in np.argwhere(matched)]
        + [(category, 0.0, 0, 1, 0) for category in predicted_class[wrong].tolist()]
        + [(category, 0.0, 0, 0, 1) for category in true_class[missed].tolist()]
    )


def _by_category(events: Iterable[tuple[int, float, int, int, int]]) -> CategoryCounts:
    sums: dict[int, list[float]] = {}
    for category, *values in events:
        total = sums.setdefault(category, [0.0, 0, 0, 0])
        for position, value in enumerate(values):
            total[position] += value
    names = ("iou", "tp", "fp", "fn")
    columns = {name: [sums[category][position] for category in sums] for position, name in enumerate(names)}
    return {"category": list(sums), **columns}


@dataclass(frozen=True)
class Quality:
    """PQ, SQ and RQ in [0, 1], averaged over `classes` classes; NaN if there are none."""

    pq: float
    sq: float
    rq: float
    classes: int


class PanopticQuality:
    """Adds up the counts of images; two of them can be merged.

    Args:
        categories: category id -> record with `name` and `isthing`.
    """

    def __init__(self, categories: Mapping[int, Mapping[str, Any]]) -> None:
        self.categories = categories
        self._rows = {category: row for row, category in enumerate(categories)}
        self.counts = np.zeros((len(categories), 4))  # summed IoU, TP, FP, FN of each class

    def add(self, counts: CategoryCounts) -> None:
        """Add what `count_image` returned."""
        rows = [self._rows[int(category)] for category in counts["category"]]
        self.counts[rows] += np.stack([counts[name] for name in ("iou", "tp", "fp", "fn")], axis=-1)

    def per_class(self) -> dict[int, Quality]:
        """Quality of each category; `classes` is 0 and the values NaN for one that never occurred."""
        return {category: self.quality([category]) for category in self.categories}

    def quality(self, categories: Collection[int] | None = None) -> Quality:
        """Average over some categories (default: all) that occurred at least once."""
        rows = [self._rows[category] for category in (self.categories if categories is None else categories)]
        iou, tp, fp, fn = self.counts[rows].T
        present = tp + fp + fn > 0
        if not present.any():
            return Quality(float("nan"), float("nan"), float("nan"), 0)
        iou, tp, errors = iou[present], tp[present], (fp + fn)[present]
        size = tp + 0.5 * errors
        return Quality(
            pq=float(np.mean(iou / size)),
            sq=float(np.mean(np.divide(iou, tp, where=tp > 0, out=np.zeros_like(iou)))),
            rq=float(np.mean(tp / size)),
            classes=int(present.sum()),
        )

    def things(self, is_thing: bool = True) -> list[int]:
        """Ids of the categories that are things (or stuff)."""
        return [id_ for id_, category in self.categories.items() if bool(category["isthing"]) == is_thing]


def image_quality(counts: CategoryCounts) -> float:
    """PQ of one image over its classes, 0 to 1; 1 for an image in which there was nothing to find and nothing found."""
    if not counts["category"]:
        return 1.0
    iou, tp, fp, fn = (np.asarray(counts[name], dtype=float) for name in ("iou", "tp", "fp", "fn"))
    return float(np.mean(iou / (tp + 0.5 * (fp + fn))))
