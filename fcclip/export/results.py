"""Panoptic, semantic and instance results from masks and class probabilities: `fcclip.inference` in NumPy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from fcclip.export.masks import MaskUpsampler, floored_sigmoid, sigmoid
from fcclip.export.products import single_threaded_products
from fcclip.formats.result import Instances
from fcclip.inference.bands import Size, bands
from fcclip.inference.least_numbers import CERTAIN_SCORE
from fcclip.inference.segments import PanopticSegment, merge_queries


class BandConsumer(Protocol):
    """Builds a result from bands of upsampled masks."""

    @property
    def queries(self) -> np.ndarray:
        """Ascending indices of the masks that it needs."""

    def update(self, start: int, stop: int, logits: np.ndarray, probability: np.ndarray) -> None:
        """Take rows `start` to `stop` of its masks: logits and their sigmoid, perhaps floored, (Q, rows, width).

        Bands may come in any order and at the same time: what a band changes belongs to its rows.
        """


def feed_bands(masks: MaskUpsampler, consumers: Sequence[BandConsumer], chunk_bytes: int, threads: int = 1) -> None:
    """Upsample every mask that is needed once, band by band, and give each consumer its share.

    Args:
        masks: all of them.
        consumers: read only the bands.
        chunk_bytes: see `bands`; every thread holds as much.
        threads: that work on bands.
    """
    needed = np.unique(np.concatenate([consumer.queries for consumer in consumers]))
    masks = masks.select(needed)
    positions = [np.searchsorted(needed, consumer.queries) for consumer in consumers]
    has_tiny = masks.have_tiny

    def feed(rows: tuple[int, int]) -> None:
        start, stop = rows
        logits = masks.band(start, stop)
        probability = floored_sigmoid(logits) if has_tiny else sigmoid(logits)
        for consumer, chosen in zip(consumers, positions, strict=True):
            if len(chosen) == len(needed):
                consumer.update(start, stop, logits, probability)
            elif len(chosen):
                consumer.update(start, stop, logits[chosen], probability[chosen])

    with single_threaded_products, ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(feed, bands(masks.widest, len(masks), chunk_bytes)):
            pass  # an error of a band is raised here


class PanopticResult:
    """See `fcclip.inference.panoptic.PanopticInference`.

    Args:
        probabilities: (Q, C + 1), void last.
        output: height and width.
        thing_ids: classes of which every query is a segment of its own.
        object_mask_threshold, overlap_threshold: see there.
        thresholds: least score of each class, C numbers.
    """

    def __init__(
        self,
        probabilities: np.ndarray,
        output: Size,
        thing_ids: Collection[int],
        object_mask_threshold: float,
        overlap_threshold: float,
        thresholds: Sequence[float] | None,
    ) -> None:
        labels = probabilities.argmax(axis=-1)
        scores = np.take_along_axis(probabilities, labels[:, None], axis=-1)[:, 0]
        kept = (labels != probabilities.shape[-1] - 1) & (scores > object_mask_threshold)
        if thresholds is not None:
            kept &= scores >= np.array([*thresholds, 0.0], np.float32)[labels]
        self.queries = np.flatnonzero(kept)
        self._labels, self._scores = labels[kept], scores[kept]
        self._thing_ids, self._overlap_threshold = thing_ids, overlap_threshold
        self._winner = np.zeros(output, np.int64)
        self._inside = np.zeros(output, bool)
        self._areas = np.zeros((len(self.queries), output[0]), np.int64)  # of the rows of each mask

    def update(self, start: int, stop: int, logits: np.ndarray, probability: np.ndarray) -> None:
        """See `BandConsumer`."""
        best, most = self._best(probability)
        if most.min() < CERTAIN_SCORE:
            probability = sigmoid(logits)
            best, _ = self._best(probability)
        self._winner[start:stop] = best
        self._inside[start:stop] = np.take_along_axis(probability, best[None], axis=0)[0] >= 0.5
        self._areas[:, start:stop] = row_counts(probability >= 0.5)

    def _best(self, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The query with the largest score at each pixel, and that score: (rows, width)."""
        scores = probability * self._scores[:, None, None]
        best = scores.argmax(axis=0)
        return best, np.take_along_axis(scores, best[None], axis=0)[0]

    def result(self) -> tuple[np.ndarray, list[PanopticSegment]]:
        """(H, W) int32 map of segment ids, 0 where there is none, and the segments in the order of their ids."""
        count = len(self.queries)
        if not count:
            return self._winner.astype(np.int32), []
        won = np.bincount(self._winner.ravel(), minlength=count)
        seen = np.bincount(self._winner[self._inside], minlength=count)
        segments, segment_of_query = merge_queries(
            list(zip(won.tolist(), seen.tolist(), self._areas.sum(axis=1).tolist(), strict=True)),
            list(zip(self._labels.tolist(), self._scores.tolist(), self.queries.tolist(), strict=True)),
            self._thing_ids,
            self._overlap_threshold,
        )
        return np.where(self._inside, np.array(segment_of_query, np.int32)[self._winner], np.int32(0)), segments


class SemanticResult:
    """The class with the largest sum over queries of class probability times mask probability, at every pixel.

    Args:
        probabilities: (Q, C + 1), void last.
        output: height and width.
        chunk_bytes: of class scores that are held at a time.
        thresholds: least score of each class, C numbers; a mask that scores less hardly counts for the class.
        below: its weight then.
    """

    def __init__(
        self,
        probabilities: np.ndarray,
        output: Size,
        chunk_bytes: int,
        thresholds: Sequence[float] | None,
        below: float,
    ) -> None:
        weights = probabilities[:, :-1].T
        if thresholds is not None:
            weights = np.where(
                weights < np.array(thresholds, np.float32)[:, None], np.float32(below) * weights, weights
            )
        self._weights = np.ascontiguousarray(weights, np.float32)
        self.queries = np.arange(len(probabilities))
        self._chunk_bytes = chunk_bytes
        self._labels = np.zeros(output, np.int32)

    def update(self, start: int, stop: int, logits: np.ndarray, probability: np.ndarray) -> None:
        """See `BandConsumer`."""
        count, rows, width = probability.shape
        for first, last in bands((rows, width), len(self._weights), self._chunk_bytes):
            scores = self._weights @ probability[:, first:last].reshape(count, -1)
            self._labels[start + first : start + last] = scores.argmax(axis=0).reshape(-1, width)

    def result(self) -> np.ndarray:
        """(H, W) int32 labels."""
        return self._labels


class InstanceResult:
    """See `fcclip.inference.instance.InstanceInference`.

    Args:
        probabilities: (Q, C + 1), void last.
        output: height and width.
        max_instances: number of (query, class) pairs taken.
        class_ids: of those, only pairs of these classes are kept (None: all).
        thresholds: least score of the instances of each class, C numbers.
    """

    def __init__(
        self,
        probabilities: np.ndarray,
        output: Size,
        max_instances: int,
        class_ids: Collection[int] | None,
        thresholds: Sequence[float] | None,
    ) -> None:
        scores = probabilities[:, :-1]
        best = np.argsort(-scores, axis=None, kind="stable")[:max_instances]
        query, label = np.unravel_index(best, scores.shape)
        if class_ids is not None:
            kept = np.isin(label, sorted(class_ids))
            query, label = query[kept], label[kept]
        self._scores, self._labels, self._thresholds = scores[query, label], label, thresholds
        self.queries, self._mask_of_pair = np.unique(query, return_inverse=True)
        self._masks = np.zeros((len(self.queries), *output), bool)
        self._totals = np.zeros((len(self.queries), output[0]), np.float32)  # of the rows of each mask
        self._areas = np.zeros((len(self.queries), output[0]), np.int64)

    def update(self, start: int, stop: int, logits: np.ndarray, probability: np.ndarray) -> None:
        """See `BandConsumer`."""
        inside = logits > 0
        self._masks[:, start:stop] = inside
        self._areas[:, start:stop] = row_counts(inside)
        self._totals[:, start:stop] = np.einsum("qrw,qrw->qr", probability, inside)

    def result(self, least_score: float) -> Instances:
        """Those that score at least `least_score`, the best first."""
        areas = self._areas.sum(axis=1)
        quality = (self._totals.sum(axis=1, dtype=np.float64) / (areas + 1e-6)).astype(np.float32)
        scores = self._scores * quality[self._mask_of_pair]
        kept = scores >= least_score
        if self._thresholds is not None:
            kept &= scores >= np.array(self._thresholds, np.float32)[self._labels]
        masks = self._masks[self._mask_of_pair[kept]]
        found = Instances(masks, boxes_of_masks(masks), scores[kept].astype(np.float32), self._labels[kept])
        return found.best_first()


def row_counts(inside: np.ndarray) -> np.ndarray:
    """How many are true in each row: (n, rows, width) bool -> (n, rows)."""
    return np.add.reduce(inside.view(np.uint8), axis=2, dtype=np.uint16 if inside.shape[2] < 2**16 else np.int64)


def boxes_of_masks(masks: np.ndarray) -> np.ndarray:
    """Tight boxes of masks (N, H, W) bool: (N, 4) as x0, y0, x1, y1 with x1, y1 exclusive; zeros if a mask is empty."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for axis, column in ((1, 0), (2, 1)):  # reduce the rows to find x, the columns to find y
        line = np.logical_or.reduce(masks, axis=axis)
        found = line.any(axis=1)
        boxes[:, column] = np.where(found, line.argmax(axis=1), 0)
        boxes[:, column + 2] = np.where(found, line.shape[1] - line[:, ::-1].argmax(axis=1), 0)
    return boxes
