"""Slide a window over an image, average what it gives, and take that to the size of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fcclip.inference.masks import Size, bands, resize_columns, resize_matrix, support

WINDOWS_AT_A_TIME = 4


def slide(image: Tensor, score: Callable[[Tensor], Tensor], window: int, stride: int) -> Tensor:
    """Average the scores of overlapping windows.

    Args:
        image: (3, H, W), normalised.
        score: images (B, 3, h, w) -> scores (B, K, h, w).
        window, stride: in pixels, along both axes. The last window of an axis is moved back to end with the image; a
            side shorter than the window is taken whole.

    Returns:
        (K, H, W) float32.
    """
    height, width = image.shape[-2:]
    corners = [(top, left) for top in starts(height, window, stride) for left in starts(width, window, stride)]
    total: Tensor | None = None
    covered = image.new_zeros(height, width)
    for chunk in _chunks(corners, WINDOWS_AT_A_TIME):
        crops = torch.stack([image[:, top : top + window, left : left + window] for top, left in chunk])
        scores = score(crops).float()
        if total is None:
            total = scores.new_zeros(scores.shape[1], height, width)
        for (top, left), part in zip(chunk, scores, strict=True):
            total[:, top : top + window, left : left + window] += part
            covered[top : top + window, left : left + window] += 1
    assert total is not None  # an image has at least one window
    return total / covered


def starts(size: int, window: int, stride: int) -> list[int]:
    """Where the windows of one axis begin."""
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(index * stride, size - window), 0) for index in range(count)]


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
    """Rows ``start`` to ``stop`` of resized scores: (K, rows, W)."""
    if output[0] == scores.shape[-2]:
        return resize_columns(scores[:, start:stop], output[1])
    weights = resize_matrix(scores.shape[-2], output[0])[start:stop]
    first, last = support(weights)
    return resize_columns(weights[:, first:last].to(scores.device) @ scores[:, first:last], output[1])


def _chunks(corners: list[tuple[int, int]], size: int) -> Iterator[list[tuple[int, int]]]:
    for start in range(0, len(corners), size):
        yield corners[start : start + size]
