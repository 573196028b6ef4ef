"""Panoptic segmentation from masks and class probabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fcclip.inference.masks import Size


@dataclass(frozen=True)
class PanopticSegment:
    """A segment of the panoptic map: its value there, class, kind, and its best query with that one's score."""

    id: int
    category_id: int
    is_thing: bool
    score: float
    query: int

    def as_info(self) -> dict[str, int | bool]:
        """The entry that Detectron2's evaluators and visualisers expect."""
        return {"id": self.id, "isthing": self.is_thing, "category_id": self.category_id}


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

    def update(self, start: int, stop: int, logits: Tensor, probability: Tensor) -> None:
        """See `BandConsumer`."""
        weighted = probability * self._scores[:, None, None]
        best = weighted.max(dim=0).indices  # faster than argmax
        self._winner[start:stop] = best
        self._inside[start:stop] = probability.gather(0, best[None])[0] >= 0.5
        positive = torch.ge(probability, 0.5, out=weighted)  # as floats, which are summed faster than bools
        self._mask_area += positive.flatten(1).sum(dim=1).long()

    def result(self) -> tuple[Tensor, list[PanopticSegment]]:
        """(H, W) int32 map of segment ids, 0 where there is none, and the segments in the order of their ids."""
        count = len(self.queries)
        if not count:
            return self._winner.int(), []
        won_area = torch.bincount(self._winner.flatten(), minlength=count)
        seen_area = torch.bincount(self._winner[self._inside], minlength=count)
        segments, segment_of_query = self._merge(won_area.tolist(), seen_area.tolist(), self._mask_area.tolist())
        ids = torch.tensor(segment_of_query, dtype=torch.int32, device=self._winner.device)
        return torch.where(self._inside, ids[self._winner], 0), segments

    def _merge(
        self, won_area: list[int], seen_area: list[int], mask_area: list[int]
    ) -> tuple[list[PanopticSegment], list[int]]:
        """The segments, and the segment of each kept query (0: none)."""
        segments: list[PanopticSegment] = []
        stuff: dict[int, int] = {}  # class -> index of its segment
        segment_of_query = [0] * len(won_area)
        labels, scores, queries = self._labels.tolist(), self._scores.tolist(), self.queries.tolist()
        for place, (won, seen, mask) in enumerate(zip(won_area, seen_area, mask_area, strict=True)):
            if not (won and mask and seen) or won / mask < self._overlap_threshold:
                continue
            label, score, query = labels[place], scores[place], queries[place]
            is_thing = label in self._thing_ids
            if not is_thing and label in stuff:
                earlier = segments[stuff[label]]
                if score > earlier.score:
                    segments[stuff[label]] = replace(earlier, score=score, query=query)
                segment_of_query[place] = earlier.id
                continue
            if not is_thing:
                stuff[label] = len(segments)
            segments.append(PanopticSegment(len(segments) + 1, label, is_thing, score, query))
            segment_of_query[place] = len(segments)
        return segments, segment_of_query
