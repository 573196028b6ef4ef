"""Slide a window over an image, average what it gives, and take that to the size of the result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fcclip.inference.bands import Size, bands, window_starts
from fcclip.inference.masks import resize_columns, resize_matrix, support

WINDOWS_AT_A_TIME = 4


@dataclass(frozen=True)
class Windows:
    """Overlapping windows that cover an image.

    Attributes:
        image_size: height and width of the image.
        window_size: of every window; a side of the image that is shorter than the window is taken whole.
        corners: top and left of each.
    """

    image_size: Size
    window_size: Size
    corners: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, image: Tensor, window: int, stride: int) -> Windows:
        """Cover an image (3, H, W).

        Args:
            image: only its size counts.
            window, stride: in pixels, along both axes. The last window of an axis is moved back to end with the image.
        """
        height, width = image.shape[-2:]
        tops, lefts = window_starts(height, window, stride), window_starts(width, window, stride)
        corners = tuple((top, left) for top in tops for left in lefts)
        return cls((height, width), (min(window, height), min(window, width)), corners)

    def crops(self, image: Tensor) -> Iterator[Tensor]:
        """The windows of an image (C, H, W), in batches (B, C, h, w)."""
        height, width = self.window_size
        for batch in self._batches():
            yield torch.stack([image[:, top : top + height, left : left + width] for top, left in batch])

    def average(self, scores: Iterable[Tensor]) -> Tensor:
        """The mean of the scores of windows.

        Args:
            scores: (B, K, h, w) of each batch of `crops`.

        Returns:
            (K, H, W) float32.
        """
        height, width = self.window_size
        total: Tensor | None = None
        covered: Tensor | None = None
        for batch, batch_scores in zip(self._batches(), scores, strict=True):
            if total is None:
                total = batch_scores.new_zeros(batch_scores.shape[1], *self.image_size, dtype=torch.float32)
                covered = total.new_zeros(self.image_size)
            assert covered is not None
            for (top, left), part in zip(batch, batch_scores.float(), strict=True):
                total[:, top : top + height, left : left + width] += part
                covered[top : top + height, left : left + width] += 1
        if total is None or covered is None:
            raise ValueError("an image without pixels has no windows")
        return total / covered

    def _batches(self) -> Iterator[tuple[tuple[int, int], ...]]:
        for start in range(0, len(self.corners), WINDOWS_AT_A_TIME):
            yield self.corners[start : start + WINDOWS_AT_A_TIME]


def resize_scores(scores: Tensor, output: Size, chunk_bytes: int) -> Tensor:
    """Resize (K, h, w) bilinearly to (K, H, W), a chunk at a time."""
    resized = scores.new_empty(len(scores), *output)
    for start, stop in _bands(scores, output, chunk_bytes):
        resized[:, start:stop] = _resized_rows(scores, output, start, stop)
    return resized


def resized_labels(scores: Tensor, output: Size, chunk_bytes: int) -> Tensor:
    """The best class (H, W) of resized scores (K, h, w), of which no more than a chunk is held."""
    rows = _bands(scores, output, chunk_bytes)
    return torch.cat([_resized_rows(scores, output, start, stop).argmax(dim=0) for start, stop in rows])


def _bands(scores: Tensor, output: Size, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    return bands((output[0], max(scores.shape[-1], output[1])), len(scores), chunk_bytes)


def _resized_rows(scores: Tensor, output: Size, start: int, stop: int) -> Tensor:
    """Rows `start` to `stop` of resized scores: (K, rows, W)."""
    if output[0] == scores.shape[-2]:
        return resize_columns(scores[:, start:stop], output[1])
    weights = resize_matrix(scores.shape[-2], output[0])[start:stop]
    first, last = support(weights)
    return resize_columns(weights[:, first:last].to(scores.device) @ scores[:, first:last], output[1])
