"""Mask logits at the size of the image, a band of rows at a time: `fcclip.inference.masks` in NumPy and OpenCV."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from fcclip.inference.bands import Size
from fcclip.inference.least_numbers import CERTAIN_LOGIT, LEAST_LOGIT


class MaskUpsampler:
    """Upsamples masks to the padded input, crops them, then takes them to the output size.

    Args:
        masks: (Q, h, w) logits for the padded input.
        padded, image, output: heights and widths of the padded input, of its part that is the image, and of the result.
    """

    def __init__(self, masks: np.ndarray, padded: Size, image: Size, output: Size) -> None:
        self._masks, self._padded, self._image, self.output = masks, padded, image, output
        rows = resize_matrix(masks.shape[-2], padded[0])[: image[0]]
        self._rows = rows if output[0] == image[0] else resize_matrix(image[0], output[0]) @ rows

    def __len__(self) -> int:
        return len(self._masks)

    @property
    def have_tiny(self) -> bool:
        """Whether the sigmoid of some mask would be so small that it slows a CPU down."""
        return bool(self._masks.size and self._masks.min() < LEAST_LOGIT)

    @property
    def widest(self) -> Size:
        """Height of the output, and the largest width that masks have on their way to it."""
        return self.output[0], max(self._padded[1], self.output[1])

    def select(self, queries: np.ndarray) -> MaskUpsampler:
        """The same for some of the masks."""
        return MaskUpsampler(self._masks[queries], self._padded, self._image, self.output)

    def band(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of the upsampled masks: (Q, rows, width) logits."""
        band = resize_rows(self._masks, self._rows[start:stop])
        band = resize_columns(band, self._padded[1])[..., : self._image[1]]
        return resize_columns(band, self.output[1])


@lru_cache(maxsize=64)
def resize_matrix(source: int, target: int) -> np.ndarray:
    """The bilinear resize of one axis as a matrix (target, source): half-pixel centres, clamped at the borders.

    Computed in float32, as PyTorch does it: its weights are the same but for the rounding of fused multiply-adds.
    """
    scale = np.float32(source) / np.float32(target)
    place = np.maximum(scale * (np.arange(target, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5), np.float32(0))
    first = np.minimum(place.astype(np.int64), source - 1)
    share = np.clip(place - first.astype(np.float32), 0, 1)
    matrix = np.zeros((target, source), np.float32)
    rows = np.arange(target)
    matrix[rows, np.minimum(first + 1, source - 1)] += share
    matrix[rows, first] += 1 - share
    return matrix


def resize_rows(maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rows of resized maps (n, h, w), given some rows of a `resize_matrix`."""
    used = np.flatnonzero(weights.any(axis=0))
    first, last = used[0], used[-1] + 1
    return np.matmul(weights[:, first:last], maps[:, first:last])


def resize_columns(maps: np.ndarray, width: int) -> np.ndarray:
    """Resize the last axis of (n, h, w) linearly. OpenCV does with floats what PyTorch does, but for the last bits."""
    count, height, before = maps.shape
    if before == width:
        return maps
    lines = np.ascontiguousarray(maps).reshape(count * height, before)
    return cv2.resize(lines, (width, count * height), interpolation=cv2.INTER_LINEAR).reshape(count, height, width)


def resize_maps(maps: np.ndarray, size: Size) -> np.ndarray:
    """Resize (n, h, w) bilinearly."""
    rows = maps if maps.shape[1] == size[0] else resize_rows(maps, resize_matrix(maps.shape[1], size[0]))
    return resize_columns(rows, size[1])


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)); never overflows."""
    result = np.negative(values)
    with np.errstate(over="ignore"):
        np.exp(result, out=result)
    result += 1
    return np.reciprocal(result, out=result)


def floored_sigmoid(values: np.ndarray) -> np.ndarray:
    """The sigmoid of mask logits (Q, rows, width), and of those below `LEAST_LOGIT` that of it.

    The exact sigmoid if at some pixel no mask reaches `CERTAIN_LOGIT`, where the best one is among the smallest.
    """
    if values.max(axis=0).min() < CERTAIN_LOGIT:
        return sigmoid(values)
    return sigmoid(np.maximum(values, np.float32(LEAST_LOGIT)))


def log_softmax(values: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    shifted = values - values.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Over an axis."""
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)
