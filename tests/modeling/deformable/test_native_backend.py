import pytest
import torch

from fcclip.modeling.deformable.native_backend import sample_native
from tests.modeling.deformable.samples import SHAPES, expected, output_and_gradients, random_inputs

pytest.importorskip("torch_ms_deform_attn")


def test_agrees_with_the_plain_path() -> None:
    inputs = random_inputs(torch.float32)
    for ours, theirs in zip(output_and_gradients(sample_native, inputs, SHAPES), expected(inputs, SHAPES), strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)


def test_types_may_differ() -> None:
    value, locations, weights = random_inputs(torch.float32)
    out = sample_native(value.bfloat16(), SHAPES, locations, weights)
    assert out.dtype == torch.bfloat16
    exact = expected((value.bfloat16(), locations, weights), SHAPES)[0]
    torch.testing.assert_close(out.double(), exact, atol=1e-2, rtol=1e-2)
