"""Segmentation and tracking quality (STQ): the geometric mean of association and segmentation quality (AQ, SQ).

Source: Weber et al., "STEP: Segmenting and Tracking Every Pixel", NeurIPS 2021 datasets track, section 4; details as in
DeepLab2's NumPy code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

NUMBER_BITS = 16  # an instance number has so many; 0 is the crowd of its class


class LabelPairs(NamedTuple):
    """Pixels of each combination of labels in a frame.

    Attributes:
        true_class, predicted_class: (P,) int64 in [0, classes]; `classes` itself means "none".
        true_number, predicted_number: (P,) int64 instance numbers, below 2**16.
        pixels: (P,) int64.
    """

    true_class: np.ndarray
    true_number: np.ndarray
    predicted_class: np.ndarray
    predicted_number: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class Stq:
    """Values in [0, 1]; NaN where there is no class.

    Attributes:
        stq: square root of `aq` times `sq`.
        aq: how well pixels of one object keep one id; 0 without any object.
        sq: mean IoU of classes. Pixels without a prediction make "none" one more class, of IoU 0.
    """

    stq: float
    aq: float
    sq: float


@dataclass
class _Sequence:
    confusion: np.ndarray  # (C + 1, C + 1) pixels, [true, predicted]
    true: Counter[int] = field(default_factory=Counter)  # pixels of each tube, by class << 16 | number
    predicted: Counter[int] = field(default_factory=Counter)
    shared: Counter[tuple[int, int]] = field(default_factory=Counter)


class SegmentationTrackingQuality:
    """Adds up frames of videos.

    Args:
        classes: their number.
        things: of them, those whose objects are associated.
    """

    def __init__(self, classes: int, things: Collection[int]) -> None:
        self._classes = classes
        self._is_thing = np.zeros(classes + 1, bool)
        self._is_thing[list(things)] = True
        self._sequences: dict[Hashable, _Sequence] = {}

    def add(self, video: Hashable, frame: LabelPairs) -> None:
        """Count one frame of a video.

        A tube is all pixels of a video with one class and one number. Where the ground truth has the number 0 of a
        thing (a crowd), nothing is associated.
        """
        size = self._classes + 1
        sequence = self._sequences.setdefault(video, _Sequence(np.zeros((size, size), np.int64)))
        np.add.at(sequence.confusion, (frame.true_class, frame.predicted_class), frame.pixels)
        is_true = self._is_thing[frame.true_class]
        is_crowd = is_true & (frame.true_number == 0)
        is_true &= ~is_crowd
        is_predicted = self._is_thing[frame.predicted_class] & ~is_crowd
        true = frame.true_class << NUMBER_BITS | frame.true_number
        predicted = frame.predicted_class << NUMBER_BITS | frame.predicted_number
        for row in np.flatnonzero(is_true | is_predicted):
            pixels = int(frame.pixels[row])
            if is_true[row]:
                sequence.true[int(true[row])] += pixels
            if is_predicted[row]:
                sequence.predicted[int(predicted[row])] += pixels
            if is_true[row] and is_predicted[row]:
                sequence.shared[int(true[row]), int(predicted[row])] += pixels

    def result(self) -> Stq:
        """STQ over all tubes and all pixels of all videos."""
        return self._result(list(self._sequences.values()))

    def per_video(self) -> dict[Hashable, Stq]:
        """The same for each video by itself."""
        return {video: self._result([sequence]) for video, sequence in self._sequences.items()}

    def _result(self, sequences: list[_Sequence]) -> Stq:
        tubes = sum(len(sequence.true) for sequence in sequences)
        association = sum(_association(sequence) for sequence in sequences)
        aq = association / tubes if tubes else 0.0
        sq = self._mean_iou(sum((sequence.confusion for sequence in sequences), np.zeros((), np.int64)))
        return Stq(float(np.sqrt(aq * sq)), float(aq), sq)

    def _mean_iou(self, confusion: np.ndarray) -> float:
        if confusion.ndim == 0:  # no video at all
            return float("nan")
        known = confusion.copy()
        known[-1] = 0  # pixels without ground truth
        correct = np.diagonal(known)
        union = known.sum(axis=0) + known.sum(axis=1) - correct
        present = union > 0
        return float(np.mean(correct[present] / union[present])) if present.any() else float("nan")


def _association(sequence: _Sequence) -> float:
    """The sum over true tubes of their association quality."""
    total = 0.0
    for (true, predicted), shared in sequence.shared.items():
        true_size, predicted_size = sequence.true[true], sequence.predicted[predicted]
        total += shared / true_size * (shared / (true_size + predicted_size - shared))
    return total
