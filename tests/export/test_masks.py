"""Masks are resized as with PyTorch."""

import numpy as np
import pytest
import torch

from fcclip.export import masks
from fcclip.inference import masks as reference


@pytest.mark.parametrize(("source", "target"), [(8, 32), (32, 8), (17, 41), (300, 1199), (5, 5), (1, 7)])
def test_weights_are_those_of_pytorch(source: int, target: int) -> None:
    ours = masks.resize_matrix(source, target)
    np.testing.assert_allclose(ours, reference.resize_matrix(source, target).numpy(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("output", [(57, 90), (80, 101), (40, 33)])
def test_bands_are_those_of_pytorch(output: tuple[int, int]) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 16, 24)).astype(np.float32)
    sizes = ((64, 96), (57, 90), output)
    ours, theirs = masks.MaskUpsampler(logits, *sizes), reference.MaskUpsampler(torch.from_numpy(logits), *sizes)
    np.testing.assert_allclose(ours.band(7, 23), theirs.band(7, 23).numpy(), atol=1e-4)
    chosen = np.array([0, 2])
    np.testing.assert_array_equal(ours.select(chosen).band(0, 5), ours.band(0, 5)[chosen])


def test_columns_and_probabilities() -> None:
    values = np.random.default_rng(1).normal(scale=30, size=(2, 5, 7)).astype(np.float32)
    tensor = torch.from_numpy(values)
    np.testing.assert_allclose(
        masks.resize_columns(values, 19), reference.resize_columns(tensor, 19).numpy(), atol=1e-4
    )
    np.testing.assert_allclose(masks.sigmoid(values), tensor.sigmoid().numpy(), atol=1e-6)
    np.testing.assert_allclose(masks.softmax(values, axis=1), tensor.softmax(dim=1).numpy(), atol=1e-6)
    np.testing.assert_allclose(masks.log_softmax(values), tensor.log_softmax(dim=-1).numpy(), rtol=1e-5, atol=1e-5)
