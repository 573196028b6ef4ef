"""Counting pairs of labels."""

import numpy as np
import pytest

from fcclip.evaluation.metrics.histogram import count_pairs


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (37, 41)])
@pytest.mark.parametrize("labels", [1, 3, 2**24 - 1])
def test_counts_equal_a_count_of_every_pixel(shape, labels: int):
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, labels, (2, *shape))
    pairs = count_pairs(first.astype(np.int32), second)
    expected = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1, return_counts=True)
    assert np.array_equal(np.stack([pairs.first, pairs.second]), expected[0])
    assert np.array_equal(pairs.pixels, expected[1])


def test_empty_maps_have_no_pairs():
    assert count_pairs(np.zeros((0, 4), int), np.zeros((0, 4), int)).pixels.size == 0


def test_maps_that_cannot_be_compared():
    with pytest.raises(ValueError, match=r"cannot compare maps of \(2, 3\) and \(3, 2\) pixels"):
        count_pairs(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\*\*31\), these span \[-1, 0\]"):
        count_pairs(np.zeros((1, 2), int), np.array([[0, -1]]))
