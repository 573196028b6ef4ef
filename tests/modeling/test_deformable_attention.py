import pytest
import torch
from torch import Tensor

from fcclip.modeling.deformable_attention import MSDeformAttn, resolve_backend, sample_native, sample_torch

SHAPES = ((3, 4), (5, 7))


def sample_by_hand(value: Tensor, shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Bilinear sampling written out point by point."""
    batch, length, heads, levels, points = weights.shape
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


def inputs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    area = sum(height * width for height, width in SHAPES)
    value = torch.randn(2, area, 2, 4, generator=generator, dtype=dtype)
    locations = torch.rand(2, 6, 2, 2, 3, 2, generator=generator, dtype=dtype) * 1.4 - 0.2  # some lie outside
    weights = torch.rand(2, 6, 2, 2, 3, generator=generator, dtype=dtype)
    return value, locations, weights


def test_samples_bilinearly_with_zeros_outside() -> None:
    value, locations, weights = inputs()
    expected = sample_by_hand(value, SHAPES, locations, weights)
    torch.testing.assert_close(sample_torch(value, SHAPES, locations, weights), expected)


def test_gradients_are_right() -> None:
    tensors = tuple(tensor.requires_grad_() for tensor in inputs())
    assert torch.autograd.gradcheck(lambda v, x, w: sample_torch(v, SHAPES, x, w), tensors)


def test_native_operator_gives_the_same() -> None:
    pytest.importorskip("torch_ms_deform_attn")
    value, locations, weights = inputs(torch.float32)
    expected = sample_torch(value, SHAPES, locations, weights)
    torch.testing.assert_close(sample_native(value, SHAPES, locations, weights), expected)


def test_starts_as_a_star_of_points() -> None:
    layer = MSDeformAttn(32, levels=2, heads=8, points=4)
    offsets = layer.sampling_offsets.bias.view(8, 2, 4, 2)
    torch.testing.assert_close(offsets[0, 0], torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]]))
    torch.testing.assert_close(offsets[1, 1, 2], torch.tensor([3.0, 3.0]))
    assert not layer.sampling_offsets.weight.any()
    assert not layer.attention_weights.weight.any()


def test_layer_takes_a_pyramid() -> None:
    layer = MSDeformAttn(32, levels=2, heads=4, points=3, backend="torch")
    values = torch.randn(2, 47, 32)
    out = layer(values[:, :10], torch.rand(10, 2), values, SHAPES)
    assert out.shape == (2, 10, 32)


def test_backends_are_checked() -> None:
    assert resolve_backend("torch") == "torch"
    assert resolve_backend("auto") in ("torch", "native")
    with pytest.raises(ValueError, match='no deformable attention "cuda"; choose one of auto, torch, native'):
        resolve_backend("cuda")
    with pytest.raises(ValueError, match="3 attention heads do not divide"):
        MSDeformAttn(32, levels=1, heads=3, points=1)


def test_missing_native_operator_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    resolve_backend.cache_clear()
    with pytest.raises(ValueError, match="pip install torch-ms-deform-attn"):
        resolve_backend("native")
    resolve_backend.cache_clear()
