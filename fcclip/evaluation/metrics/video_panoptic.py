"""Video panoptic quality (VPQ): PQ of tubes, the pixels of a segment over a window of some frames.

VPQ of a window of k frames is the PQ of the tubes of every k consecutive frames of every video; VPQ is its mean over
some windows. Papers take 1, 2, 4 and 6 frames, the published script of VIPSeg 8 as well; both are named here.

Source: Kim et al., "Video Panoptic Segmentation", CVPR 2020, section 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fcclip.evaluation.metrics.histogram import PairCounts, count_pairs
from fcclip.evaluation.metrics.panoptic_quality import (
    CategoryCounts,
    Overlaps,
    PanopticInputError,
    PanopticQuality,
    Segment,
    count_overlaps,
)
from fcclip.files.panoptic import VOID

PAPER_WINDOWS = (1, 2, 4, 6)
SCRIPT_WINDOWS = (1, 2, 4, 6, 8)


@dataclass(frozen=True)
class FrameCounts:
    """All that VPQ needs of a frame: a few hundred numbers in place of two maps.

    Attributes:
        pairs: pixels of each pair of (true, predicted) segment ids.
        true_segments, segments: the records of the ground truth and of the prediction.
    """

    pairs: PairCounts
    true_segments: Sequence[Segment]
    segments: Sequence[Segment]


def count_frame(
    true_map: np.ndarray,
    true_segments: Sequence[Segment],
    predicted_map: np.ndarray,
    predicted_segments: Sequence[Segment],
    categories: Collection[int],
) -> FrameCounts:
    """Count and check one frame.

    Args:
        true_map: (H, W) ids of ground-truth segments, 0 = void.
        true_segments: records with `id`, `category_id`, `area` and, optionally, `iscrowd`. As in the published script
            the given `area` counts, not the pixels of the map.
        predicted_map: (H, W) ids of predicted segments, 0 = nothing.
        predicted_segments: records with `id` and `category_id`.
        categories: the category ids that there are.

    Raises:
        PanopticInputError: maps of different size, a ground-truth record without area, predicted pixels without a
            record, a predicted record without pixels or of a category that is not among `categories`.
    """
    if true_map.shape != predicted_map.shape:
        raise PanopticInputError(
            f"the prediction has {predicted_map.shape} pixels, the ground truth {true_map.shape} (height, width)"
        )
    for segment in true_segments:
        if segment.get("area") is None:
            raise PanopticInputError(f"the ground truth gives no area for segment {segment['id']}")
    pairs = count_pairs(true_map, predicted_map)
    listed = {segment["id"] for segment in predicted_segments}
    drawn = set(pairs.second.tolist())
    unlisted, empty = sorted(drawn - listed - {VOID}), sorted(listed - drawn)
    if unlisted:
        raise PanopticInputError(f"pixels have segment id {unlisted[0]}, which the list of segments does not have")
    if empty:
        raise PanopticInputError(f"segment {empty[0]} is listed but has no pixel in the map")
    for segment in predicted_segments:
        if segment["category_id"] not in categories:
            raise PanopticInputError(
                f"a predicted segment has category id {segment['category_id']}, which the ground truth lacks"
            )
    return FrameCounts(pairs, true_segments, predicted_segments)


class VideoPanopticQuality:
    """Adds up the tubes of videos, for several windows at once.

        quality = VideoPanopticQuality(categories)
        quality.add_video([count_frame(...) for every frame])
        quality.mean(PAPER_WINDOWS)

    Args:
        categories: category id -> record with `name` and `isthing`.
        windows: lengths in frames.

    Attributes:
        of_window: length -> the `PanopticQuality` of its tubes.
    """

    def __init__(self, categories: Mapping[int, Mapping[str, Any]], windows: Sequence[int] = SCRIPT_WINDOWS) -> None:
        self.of_window = {length: PanopticQuality(categories) for length in windows}

    def add_video(self, frames: Sequence[FrameCounts]) -> None:
        """Count all windows of a video; one that is shorter than a window adds nothing to it.

        Raises:
            PanopticInputError: a stated area of the ground truth is smaller than what a prediction has of it.
        """
        for length, quality in self.of_window.items():
            for start in range(len(frames) - length + 1):
                quality.add(_known(count_window(frames[start : start + length]), quality.categories))

    def mean(self, windows: Sequence[int] = PAPER_WINDOWS, categories: Collection[int] | None = None) -> float:
        """VPQ, 0 to 1: the mean over windows of PQ over categories (default: all); NaN if a window has no class."""
        return float(np.mean([self.of_window[length].quality(categories).pq for length in windows]))


def count_window(frames: Sequence[FrameCounts]) -> CategoryCounts:
    """Match the tubes of some consecutive frames and count them, class by class, as `count_image` does.

    A tube has the class and the crowd flag of the first frame in which it is listed.
    """
    true_tubes = _tubes([frame.true_segments for frame in frames])
    tubes = _tubes([frame.segments for frame in frames])
    overlaps = _overlaps(_added([frame.pairs for frame in frames]), true_tubes, tubes)
    wrong = np.argwhere((overlaps.shared > overlaps.true_area[:, None]) & _same_class(true_tubes, tubes))
    if len(wrong):
        tube = true_tubes[wrong[0, 0]]
        raise PanopticInputError(
            f"the ground truth says that segment {tube['id']} has {tube['area']} pixels, but its map has more; "
            "prepare the ground truth again"
        )
    return count_overlaps(overlaps, true_tubes, tubes)


def _tubes(frames: Sequence[Sequence[Segment]]) -> list[dict[str, Any]]:
    """One record per id; areas are added up, everything else is that of the first record."""
    tubes: dict[int, dict[str, Any]] = {}
    for segments in frames:
        for segment in segments:
            known = tubes.get(segment["id"])
            if known is None:
                tubes[segment["id"]] = dict(segment)
            else:
                known["area"] = known.get("area", 0) + segment.get("area", 0)
    return list(tubes.values())


def _added(counts: Sequence[PairCounts]) -> PairCounts:
    if len(counts) == 1:
        return counts[0]
    keys = np.concatenate([pairs.first << 32 | pairs.second for pairs in counts])
    pixels = np.concatenate([pairs.pixels for pairs in counts])
    unique, position = np.unique(keys, return_inverse=True)
    total = np.bincount(position, weights=pixels, minlength=len(unique)).astype(np.int64)
    return PairCounts(unique >> 32, unique & 0xFFFFFFFF, total)


def _overlaps(pairs: PairCounts, true_tubes: Sequence[Segment], tubes: Sequence[Segment]) -> Overlaps:
    rows = {tube["id"]: row for row, tube in enumerate(true_tubes)}
    columns = {tube["id"]: column for column, tube in enumerate(tubes)}
    shared = np.zeros((len(true_tubes), len(tubes)), np.int64)
    void, area = np.zeros(len(tubes), np.int64), np.zeros(len(tubes), np.int64)
    for true_id, predicted_id, pixels in zip(*(column.tolist() for column in pairs), strict=True):
        column = columns.get(predicted_id)
        if column is None:
            continue
        area[column] += pixels
        if true_id == VOID:
            void[column] += pixels
        if true_id in rows:
            shared[rows[true_id], column] = pixels
    true_area = np.array([tube["area"] for tube in true_tubes], np.int64)
    return Overlaps(shared, void, true_area, area)


def _same_class(true_tubes: Sequence[Segment], tubes: Sequence[Segment]) -> np.ndarray:
    """(G, P) whether a true tube that is no crowd and a predicted one have the same class."""
    true_class = np.array([tube["category_id"] for tube in true_tubes], np.int64)
    predicted_class = np.array([tube["category_id"] for tube in tubes], np.int64)
    crowd = np.array([tube.get("iscrowd", 0) == 1 for tube in true_tubes], bool)
    return (true_class[:, None] == predicted_class) & ~crowd[:, None]


def _known(counts: CategoryCounts, categories: Collection[int]) -> CategoryCounts:
    """The counts of known categories; others may stand in the ground truth, but enter no average."""
    kept = [row for row, category in enumerate(counts["category"]) if category in categories]
    return {name: [values[row] for row in kept] for name, values in counts.items()}
