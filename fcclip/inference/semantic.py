"""Semantic segmentation from masks and class probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fcclip.inference.bands import FLOAT_BYTES, Size, bands
from fcclip.inference.masks import (
    Band,
    MaskUpsampler,
    floored_sigmoid,
    largest,
    resize_columns,
    resize_matrix,
    support,
)

BELOW_THRESHOLD = 1e-4  # weight of a mask in a class that it does not reach the threshold of


class SemanticInference:
    """Score of every class at every pixel: the sum over queries of class probability times mask probability.

    Args:
        class_logits: (Q, C + 1), void last.
        output: height and width.
        chunk_bytes: of class scores that are held at a time.
        labels_only: give the best class of every pixel and never hold the scores of a whole image.
        thresholds: of each class, C numbers; a mask that scores less hardly counts for the class, which gives way to
            any other. Where there is none, it stays: a label map has a class at every pixel.
    """

    queries = None

    def __init__(
        self,
        class_logits: Tensor,
        output: Size,
        chunk_bytes: int,
        labels_only: bool = False,
        thresholds: Sequence[float] | None = None,
    ) -> None:
        self._probabilities = class_logits.float().softmax(dim=-1)[:, :-1].T.contiguous()
        if thresholds is not None:
            below = self._probabilities < self._probabilities.new_tensor(thresholds)[:, None]
            self._probabilities = torch.where(below, BELOW_THRESHOLD * self._probabilities, self._probabilities)
        self.classes = len(self._probabilities)
        self._chunk_bytes = chunk_bytes
        self._labels_only = labels_only
        if labels_only:
            self._result = class_logits.new_empty(output, dtype=torch.int64)
        else:
            self._result = class_logits.new_empty((self.classes, *output), dtype=torch.float32)

    def update(self, band: Band) -> None:
        """See `BandConsumer`; afterwards `result` has those rows."""
        start, probability = band.start, band.probability
        width = probability.shape[2]
        if not self._labels_only:  # the product goes straight to its place
            place = self._result.flatten(1)[:, start * width : band.stop * width]
            torch.mm(self._probabilities, probability.flatten(1), out=place)
            return
        for first, last in bands((band.stop - start, width), self.classes, self._chunk_bytes):
            self.write(start + first, start + last, self.scores(probability[:, first:last]))

    def result(self) -> Tensor:
        """(C, H, W) float32 scores, or (H, W) int64 labels."""
        return self._result

    def scores(self, probability: Tensor) -> Tensor:
        """Mask probabilities (Q, rows, width) -> class scores (C, rows, width)."""
        return (self._probabilities @ probability.flatten(1)).view(self.classes, *probability.shape[1:])

    def write(self, start: int, stop: int, scores: Tensor) -> None:
        """Put the scores (C, rows, width) of a band into the result."""
        if self._labels_only:
            self._result[start:stop] = largest(scores)[1]
        else:
            self._result[:, start:stop] = scores


def resized_semantic_inference(
    class_logits: Tensor,
    masks: MaskUpsampler,
    output: Size,
    chunk_bytes: int,
    labels_only: bool = False,
    thresholds: Sequence[float] | None = None,
) -> Tensor:
    """Semantic inference at the size of the masks, its class scores then resized.

    The order of steps that the published system takes when neither panoptic nor instance results are asked for.

    Args:
        class_logits: (Q, C + 1), void last.
        masks: at the size of the image.
        output: height and width of the result.
        chunk_bytes: of masks, and of class scores, that are held at a time.
        labels_only: give the best class of every pixel.
        thresholds: as of `SemanticInference`.

    Returns:
        (C, *output) float32 scores, or labels of shape `output`.
    """
    inference = SemanticInference(class_logits, output, chunk_bytes, labels_only, thresholds)
    weights = resize_matrix(masks.output[0], output[0])
    for start, stop in _bands_of_both(masks, output, max(len(class_logits), inference.classes), chunk_bytes):
        first, last = support(weights[start:stop])
        scores = inference.scores(floored_sigmoid(masks.band(first, last)))
        resized = weights[start:stop, first:last].to(scores.device) @ scores
        inference.write(start, stop, resize_columns(resized, output[1]))
    return inference.result()


def _bands_of_both(masks: MaskUpsampler, output: Size, layers: int, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Bands of the result for which neither `layers` maps of it nor those that they are resized from take more.

    A band of the result needs as many rows of the masks as its own share of the height, one more on either side.
    """
    width = max(masks.widest[1], output[1])
    bytes_per_row = FLOAT_BYTES * width * layers
    mask_rows_per_row = -(-masks.output[0] // output[0])
    rows_beside = 2
    return bands((output[0], width * mask_rows_per_row), layers, chunk_bytes - rows_beside * bytes_per_row)
