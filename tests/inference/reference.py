"""The post-processing of the published system, written plainly: every mask at full size, a loop over queries."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def resize(maps: Tensor, size: Size) -> Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]


def full_masks(masks: Tensor, padded: Size, image: Size, output: Size) -> Tensor:
    return resize(resize(masks, padded)[:, : image[0], : image[1]], output)


def semantic(class_logits: Tensor, masks: Tensor) -> Tensor:
    return torch.einsum("qc,qhw->chw", class_logits.softmax(-1)[:, :-1], masks.sigmoid())


def panoptic(
    class_logits: Tensor, masks: Tensor, things: set[int], object_threshold: float, overlap_threshold: float
) -> tuple[Tensor, list[dict[str, Any]]]:
    scores, labels = class_logits.softmax(-1).max(-1)
    probability = masks.sigmoid()
    keep = (labels != class_logits.shape[-1] - 1) & (scores > object_threshold)
    result = torch.zeros(masks.shape[-2:], dtype=torch.int32)
    segments: list[dict[str, Any]] = []
    stuff: dict[int, int] = {}
    if not keep.any():
        return result, segments
    scores, labels, probability = scores[keep], labels[keep], probability[keep]
    winner = (scores.view(-1, 1, 1) * probability).argmax(0)
    for k, label in enumerate(labels.tolist()):
        won = winner == k
        inside = probability[k] >= 0.5
        both = won & inside
        if not (won.any() and inside.any() and both.any()):
            continue
        if won.sum().item() / inside.sum().item() < overlap_threshold:
            continue
        if label not in things and label in stuff:
            result[both] = stuff[label]
            continue
        identity = len(segments) + 1
        if label not in things:
            stuff[label] = identity
        result[both] = identity
        segments.append({"id": identity, "isthing": label in things, "category_id": label})
    return result, segments


def instances(
    class_logits: Tensor, masks: Tensor, count: int, things: set[int]
) -> list[tuple[int, int, float, Tensor]]:
    """(query, class, score, mask) of each instance."""
    scores = class_logits.softmax(-1)[:, :-1]
    best, index = scores.flatten().topk(count, sorted=False)
    found = []
    for score, flat in zip(best.tolist(), index.tolist(), strict=True):
        query, label = divmod(flat, scores.shape[1])
        if label not in things:
            continue
        mask = (masks[query] > 0).float()
        mask_score = (masks[query].sigmoid() * mask).sum() / (mask.sum() + 1e-6)
        found.append((query, label, score * mask_score.item(), mask))
    return found
