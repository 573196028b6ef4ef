"""Instance segmentation from masks and class probabilities."""

from __future__ import annotations

from collections.abc import Collection

import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor

from fcclip.inference.masks import MaskUpsampler, bands


def instance_inference(
    class_logits: Tensor, masks: MaskUpsampler, max_instances: int, class_ids: Collection[int] | None = None
) -> Instances:
    """The best (query, class) pairs, scored by class probability times mean mask probability inside the mask.

    Args:
        class_logits: (Q, C + 1), void last.
        masks: the upsampled masks.
        max_instances: number of pairs taken.
        class_ids: of those, only pairs of these classes are kept (None: all).

    Returns:
        Instances with ``pred_masks`` (N, H, W) bool, ``pred_boxes`` (tight, around the masks), ``scores``,
        ``pred_classes``.
    """
    probabilities = class_logits.float().softmax(dim=-1)[:, :-1]
    classes = probabilities.shape[1]
    count = min(max_instances, probabilities.numel())
    scores, index = probabilities.flatten().topk(count, sorted=False)
    query, label = index // classes, index % classes
    if class_ids is not None:
        kept = torch.isin(label, torch.tensor(sorted(class_ids), device=label.device))
        scores, query, label = scores[kept], query[kept], label[kept]
    distinct, position = query.unique(return_inverse=True)
    positive, mask_score = _binarise(masks, distinct)
    result = Instances(masks.output)
    result.pred_masks = positive[position]
    result.pred_boxes = Boxes(boxes_of_masks(positive)[position])
    result.scores = scores * mask_score[position]
    result.pred_classes = label
    return result


def _binarise(masks: MaskUpsampler, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Masks (N, H, W) bool of the queries, and the mean probability inside each."""
    positive = torch.empty((len(queries), *masks.output), dtype=torch.bool, device=queries.device)
    total = torch.zeros(len(queries), device=queries.device)
    area = torch.zeros(len(queries), device=queries.device)
    for start, stop in bands(masks.output, len(queries)):
        logits = masks.band(start, stop, queries)
        inside = logits > 0
        positive[:, start:stop] = inside
        area += inside.flatten(1).sum(dim=1)
        total += logits.sigmoid_().mul_(inside).flatten(1).sum(dim=1)
    return positive, total / (area + 1e-6)


def boxes_of_masks(masks: Tensor) -> Tensor:
    """Tight boxes of masks (N, H, W) bool: (N, 4) as x0, y0, x1, y1 with x1, y1 exclusive; zeros if a mask is empty."""
    boxes = torch.zeros((len(masks), 4), device=masks.device)
    for axis, column in ((1, 0), (2, 1)):  # reduce the rows to find x, the columns to find y
        line = masks.any(dim=axis)
        size = line.shape[1]
        found = line.any(dim=1)
        first = line.float().argmax(dim=1)
        last = size - line.flip(1).float().argmax(dim=1)
        boxes[:, column] = torch.where(found, first, 0)
        boxes[:, column + 2] = torch.where(found, last, 0)
    return boxes
