"""Panoptic segmentation from masks and class probabilities."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from fcclip.inference.masks import MaskUpsampler, bands


@dataclass(frozen=True)
class PanopticSegment:
    """A segment of the panoptic map: its value there, class, kind, and the score of its best query."""

    id: int
    category_id: int
    is_thing: bool
    score: float

    def as_info(self) -> dict[str, int | bool]:
        """The entry that Detectron2's evaluators and visualisers expect."""
        return {"id": self.id, "isthing": self.is_thing, "category_id": self.category_id}


def panoptic_inference(
    class_logits: Tensor,
    masks: MaskUpsampler,
    thing_ids: Collection[int],
    object_mask_threshold: float,
    overlap_threshold: float,
) -> tuple[Tensor, list[PanopticSegment]]:
    """Give every pixel to the query with the largest class score times mask probability.

    A query needs a class other than void and a score above ``object_mask_threshold``; of its own mask it must win the
    share ``overlap_threshold``. Stuff queries of one class become one segment.

    Args:
        class_logits: (Q, C + 1), void last.
        masks: the upsampled masks.
        thing_ids: classes of which every query is a segment of its own.

    Returns:
        (H, W) int32 map of segment ids, 0 where there is none, and the segments in the order of their ids.
    """
    scores, labels = class_logits.float().softmax(dim=-1).max(dim=-1)
    kept = ((labels != class_logits.shape[-1] - 1) & (scores > object_mask_threshold)).nonzero()[:, 0]
    if not len(kept):
        return class_logits.new_zeros(masks.output, dtype=torch.int32), []
    winner, inside, mask_area = _compete(masks, kept, scores[kept])
    won_area = torch.bincount(winner.flatten(), minlength=len(kept)).tolist()
    seen_area = torch.bincount(winner[inside], minlength=len(kept)).tolist()
    kept_labels, kept_scores = labels[kept].tolist(), scores[kept].tolist()

    segments: list[PanopticSegment] = []
    stuff: dict[int, int] = {}  # class -> index of its segment
    segment_of_query = [0] * len(kept)
    for query, (won, seen, mask) in enumerate(zip(won_area, seen_area, mask_area.tolist(), strict=True)):
        if not (won and mask and seen) or won / mask < overlap_threshold:
            continue
        label, score = kept_labels[query], kept_scores[query]
        is_thing = label in thing_ids
        if not is_thing and label in stuff:
            earlier = segments[stuff[label]]
            segments[stuff[label]] = PanopticSegment(earlier.id, label, False, max(earlier.score, score))
            segment_of_query[query] = earlier.id
            continue
        if not is_thing:
            stuff[label] = len(segments)
        segments.append(PanopticSegment(len(segments) + 1, label, is_thing, score))
        segment_of_query[query] = len(segments)
    ids = torch.tensor(segment_of_query, dtype=torch.int32, device=winner.device)
    return torch.where(inside, ids[winner], 0), segments


def _compete(masks: MaskUpsampler, kept: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which of the kept queries wins each pixel, whether the pixel is in its mask, and the areas of all masks."""
    winner = kept.new_empty(masks.output)
    inside = kept.new_empty(masks.output, dtype=torch.bool)
    mask_area = torch.zeros_like(kept)
    for start, stop in bands(masks.output, len(kept)):
        probability = masks.band(start, stop, kept).sigmoid_()
        positive = probability >= 0.5
        mask_area += positive.flatten(1).sum(dim=1)
        best = probability.mul_(scores[:, None, None]).argmax(dim=0)
        winner[start:stop] = best
        inside[start:stop] = positive.gather(0, best[None])[0]
    return winner, inside, mask_area
