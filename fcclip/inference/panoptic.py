"""Panoptic segmentation from masks and class probabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from fcclip.inference.bands import Size
from fcclip.inference.least_numbers import CERTAIN_SCORE
from fcclip.inference.masks import Band, largest
from fcclip.inference.segments import PanopticSegment, merge_queries


class PanopticInference:
    """Gives every pixel to the query with the largest class score times mask probability.

    A query needs a class other than void and a score above `object_mask_threshold`; of its own mask it must win the
    share `overlap_threshold`. Stuff queries of one class become one segment.

    Args:
        class_logits: (Q, C + 1), void last.
        output: height and width.
        thing_ids: classes of which every query is a segment of its own.
        thresholds: least score of a query of each class, C numbers, besides `object_mask_threshold`.
    """

    def __init__(
        self,
        class_logits: Tensor,
        output: Size,
        thing_ids: Collection[int],
        object_mask_threshold: float,
        overlap_threshold: float,
        thresholds: Sequence[float] | None = None,
    ) -> None:
        scores, labels = class_logits.float().softmax(dim=-1).max(dim=-1)
        kept = (labels != class_logits.shape[-1] - 1) & (scores > object_mask_threshold)
        if thresholds is not None:
            kept &= scores >= scores.new_tensor([*thresholds, 0.0])[labels]
        self.queries = kept.nonzero()[:, 0]
        self._scores, self._labels = scores[self.queries], labels[self.queries]
        self._thing_ids = thing_ids
        self._overlap_threshold = overlap_threshold
        self._winner = labels.new_zeros(output)
        self._inside = labels.new_zeros(output, dtype=torch.bool)
        self._mask_area = torch.zeros_like(self._labels)

    def update(self, band: Band) -> None:
        """See `BandConsumer`."""
        probability = band.probability
        weighted = probability * self._scores[:, None, None]
        most, best = largest(weighted)
        if band.is_floored and most.min() < CERTAIN_SCORE:
            best = largest(band.logits.sigmoid() * self._scores[:, None, None])[1]
        self._winner[band.start : band.stop] = best
        self._inside[band.start : band.stop] = probability.gather(0, best[None])[0] >= 0.5
        positive = torch.ge(probability, 0.5, out=weighted)  # as floats, which are summed faster than bools
        self._mask_area += positive.flatten(1).sum(dim=1).long()

    def result(self) -> tuple[Tensor, list[PanopticSegment]]:
        """(H, W) int32 map of segment ids, 0 where there is none, and the segments in the order of their ids."""
        count = len(self.queries)
        if not count:
            return self._winner.int(), []
        won_area = torch.bincount(self._winner.flatten(), minlength=count)
        seen_area = torch.bincount(self._winner[self._inside], minlength=count)
        segments, segment_of_query = merge_queries(
            list(zip(won_area.tolist(), seen_area.tolist(), self._mask_area.tolist(), strict=True)),
            list(zip(self._labels.tolist(), self._scores.tolist(), self.queries.tolist(), strict=True)),
            self._thing_ids,
            self._overlap_threshold,
        )
        ids = torch.tensor(segment_of_query, dtype=torch.int32, device=self._winner.device)
        return torch.where(self._inside, ids[self._winner], 0), segments
