"""Semantic segmentation from masks and class probabilities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.inference.masks import MaskUpsampler, Size, bands, resize_matrix


def semantic_inference(
    class_logits: Tensor, masks: MaskUpsampler, output: Size | None = None, labels_only: bool = False
) -> Tensor:
    """Score of every class at every pixel: the sum over queries of class probability times mask probability.

    Args:
        class_logits: (Q, C + 1), void last.
        masks: the upsampled masks.
        output: resize the class scores, not the masks, to this size (the order of steps that the published system
            takes when neither panoptic nor instance results are asked for).
        labels_only: give the best class of every pixel and never hold the scores of a whole image.

    Returns:
        (C, H, W) float32 scores, or (H, W) int64 labels.
    """
    probabilities = class_logits.float().softmax(dim=-1)[:, :-1].T.contiguous()
    target = output or masks.output
    classes = len(probabilities)
    if labels_only:
        result = class_logits.new_empty(target, dtype=torch.int64)
    else:
        result = class_logits.new_empty((classes, *target), dtype=torch.float32)
    for start, stop in bands(target, max(len(class_logits), classes)):
        scores = _band_scores(probabilities, masks, start, stop, target)
        if labels_only:
            result[start:stop] = scores.argmax(dim=0)
        else:
            result[:, start:stop] = scores
    return result


def _band_scores(probabilities: Tensor, masks: MaskUpsampler, start: int, stop: int, target: Size) -> Tensor:
    """Scores (C, rows, W) of a band of the target."""
    if target == masks.output:
        return _scores(probabilities, masks, start, stop)
    weights = resize_matrix(masks.output[0], target[0], probabilities.device)[start:stop]
    columns = weights.any(dim=0).nonzero()
    first, last = int(columns[0]), int(columns[-1]) + 1
    scores = weights[:, first:last] @ _scores(probabilities, masks, first, last)
    return F.interpolate(scores[None], size=(stop - start, target[1]), mode="bilinear", align_corners=False)[0]


def _scores(probabilities: Tensor, masks: MaskUpsampler, start: int, stop: int) -> Tensor:
    band = masks.band(start, stop).sigmoid_()
    return (probabilities @ band.flatten(1)).view(len(probabilities), *band.shape[1:])
