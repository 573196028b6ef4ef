"""Semantic segmentation from masks and class probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from fcclip.inference.masks import MaskUpsampler, Size, bands, resize_columns, resize_matrix, support


class SemanticInference:
    """Score of every class at every pixel: the sum over queries of class probability times mask probability.

    Args:
        class_logits: (Q, C + 1), void last.
        output: height and width.
        labels_only: give the best class of every pixel and never hold the scores of a whole image.
    """

    queries = None

    def __init__(self, class_logits: Tensor, output: Size, labels_only: bool = False) -> None:
        self._probabilities = class_logits.float().softmax(dim=-1)[:, :-1].T.contiguous()
        self.classes = len(self._probabilities)
        self._labels_only = labels_only
        if labels_only:
            self.result = class_logits.new_empty(output, dtype=torch.int64)
        else:
            self.result = class_logits.new_empty((self.classes, *output), dtype=torch.float32)

    def update(self, start: int, stop: int, logits: Tensor, probability: Tensor) -> None:
        """See :class:`BandConsumer`; afterwards :attr:`result` is (C, H, W) float32, or (H, W) int64 labels."""
        rows = max(1, probability.shape[1] * len(probability) // self.classes)  # scores take no more than the masks
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            self.write(first, last, self.scores(probability[:, first - start : last - start]))

    def scores(self, probability: Tensor) -> Tensor:
        """Mask probabilities (Q, rows, width) -> class scores (C, rows, width)."""
        return (self._probabilities @ probability.flatten(1)).view(self.classes, *probability.shape[1:])

    def write(self, start: int, stop: int, scores: Tensor) -> None:
        """Put the scores (C, rows, width) of a band into the result."""
        if self._labels_only:
            self.result[start:stop] = scores.max(dim=0).indices  # faster than argmax
        else:
            self.result[:, start:stop] = scores


def resized_semantic_inference(
    class_logits: Tensor, masks: MaskUpsampler, output: Size, labels_only: bool = False
) -> Tensor:
    """Semantic inference at the size of the masks, its class scores then resized.

    The order of steps that the published system takes when neither panoptic nor instance results are asked for.

    Returns:
        (C, *output) float32 scores, or labels of shape ``output``.
    """
    inference = SemanticInference(class_logits, output, labels_only)
    weights = resize_matrix(masks.output[0], output[0])
    for start, stop in bands(output, max(len(class_logits), inference.classes)):
        first, last = support(weights[start:stop])
        scores = inference.scores(masks.band(first, last).sigmoid_())
        resized = weights[start:stop, first:last].to(scores.device) @ scores
        inference.write(start, stop, resize_columns(resized, output[1]))
    return inference.result
