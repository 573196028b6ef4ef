"""The joint histogram of two label maps: the one count from which PQ, IoU and accuracy all follow."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PairCounts(NamedTuple):
    """How many pixels have each pair of labels; pairs that do not occur are left out.

    Attributes:
        first, second: (P,) int64 labels in the first and in the second map, sorted by (first, second).
        pixels: (P,) int64.
    """

    first: np.ndarray
    second: np.ndarray
    pixels: np.ndarray


def count_pairs(first: np.ndarray, second: np.ndarray) -> PairCounts:
    """Count the pairs of labels at the same pixel of two maps.

    Neighbouring pixels mostly agree, so runs of equal pairs are found first and only they are sorted: a few bytes of
    scratch memory per pixel, no table over all labels, and far less time than sorting pixels.

    Args:
        first, second: integer maps of one shape, values in [0, 2**31).

    Raises:
        ValueError: the shapes differ or a label is out of range.
    """
    if first.shape != second.shape:
        raise ValueError(f"cannot compare maps of {first.shape} and {second.shape} pixels")
    if first.size == 0:
        return PairCounts(*(np.zeros(0, np.int64) for _ in range(3)))
    keys, pixels = _runs(first.reshape(-1), second.reshape(-1))
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    keys, pixels = keys[starts], np.add.reduceat(pixels[order], starts)
    return PairCounts(keys >> 32, keys & 0xFFFFFFFF, pixels)


def _runs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs of equal pairs in two flat maps: (R,) int64 keys `first << 32 | second` and (R,) int64 lengths."""
    changes = first[1:] != first[:-1]
    changes |= second[1:] != second[:-1]
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    values = [labels[starts].astype(np.int64) for labels in (first, second)]
    for labels in values:
        if labels.min() < 0 or labels.max() >= 1 << 31:
            raise ValueError(f"labels must lie in [0, 2**31), these span [{labels.min()}, {labels.max()}]")
    return values[0] << 32 | values[1], np.diff(starts, append=first.size)
