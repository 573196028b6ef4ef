import torch
from torch import Tensor

from fcclip.modeling.deformable import torch_backend
from fcclip.modeling.deformable.torch_backend import sample_torch
from tests.modeling.deformable.samples import SHAPES, random_inputs


def sample_by_hand(value: Tensor, shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Bilinear sampling written out point by point."""
    batch, length, heads, _levels, points = weights.shape
    out = torch.zeros(batch, length, heads, value.shape[-1], dtype=value.dtype)
    start = 0
    for level, (height, width) in enumerate(shapes):
        level_map = value[:, start : start + height * width].view(batch, height, width, heads, -1)
        start += height * width
        for index in torch.cartesian_prod(*map(torch.arange, (batch, length, heads, points))).tolist():
            b, n, m, p = index
            x, y = (locations[b, n, m, level, p] * torch.tensor([width, height]) - 0.5).tolist()
            for row in (int(y // 1), int(y // 1) + 1):
                for column in (int(x // 1), int(x // 1) + 1):
                    if 0 <= row < height and 0 <= column < width:
                        share = (1 - abs(y - row)) * (1 - abs(x - column))
                        out[b, n, m] += weights[b, n, m, level, p] * share * level_map[b, row, column, m]
    return out.flatten(2)


def test_samples_bilinearly_with_zeros_outside() -> None:
    value, locations, weights = random_inputs()
    expected = sample_by_hand(value, SHAPES, locations, weights)
    torch.testing.assert_close(sample_torch(value, SHAPES, locations, weights), expected)


def test_chunks_change_nothing(monkeypatch) -> None:
    value, locations, weights = random_inputs()
    whole = sample_torch(value, SHAPES, locations, weights)
    monkeypatch.setattr(torch_backend, "CPU_CHUNK", 4)
    torch.testing.assert_close(sample_torch(value, SHAPES, locations, weights), whole, atol=0, rtol=0)


def test_gradients_are_right() -> None:
    tensors = tuple(tensor.requires_grad_() for tensor in random_inputs())
    assert torch.autograd.gradcheck(lambda v, x, w: sample_torch(v, SHAPES, x, w), tensors)


def test_types_may_differ() -> None:
    value, locations, weights = random_inputs(torch.float32)
    out = sample_torch(value.bfloat16(), SHAPES, locations, weights)
    expected = sample_torch(value.bfloat16().float(), SHAPES, locations, weights)
    torch.testing.assert_close(out, expected.bfloat16(), atol=0, rtol=0)
