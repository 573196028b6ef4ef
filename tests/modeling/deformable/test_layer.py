import pytest
import torch

from fcclip.modeling.deformable import MSDeformAttn
from tests.modeling.deformable.samples import SHAPES


def layer_and_inputs(backend: str = "torch") -> tuple[MSDeformAttn, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    layer = MSDeformAttn(32, levels=2, heads=4, points=3, backend=backend)
    torch.nn.init.normal_(layer.attention_weights.weight)
    torch.nn.init.normal_(layer.sampling_offsets.weight)
    return layer, torch.rand(10, 2), torch.randn(2, 47, 32)


def test_starts_as_a_star_of_points() -> None:
    layer = MSDeformAttn(32, levels=2, heads=8, points=4)
    offsets = layer.sampling_offsets.bias.view(8, 2, 4, 2)
    torch.testing.assert_close(offsets[0, 0], torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 0.0]]))
    torch.testing.assert_close(offsets[1, 1, 2], torch.tensor([3.0, 3.0]))
    assert not layer.sampling_offsets.weight.any()
    assert not layer.attention_weights.weight.any()


def test_offsets_are_in_pixels_of_each_level() -> None:
    layer = MSDeformAttn(4, levels=2, heads=1, points=1, backend="torch")
    for projection in (layer.value_proj, layer.output_proj):
        torch.nn.init.eye_(projection.weight)
    with torch.no_grad():
        layer.sampling_offsets.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 2.0]))  # one column right; two rows down
    values = torch.randn(1, 47, 4)
    centre = torch.tensor([[0.5 / 4, 0.5 / 3]])  # of the first pixel of the coarse level
    out = layer(values[:, :1], centre, values, SHAPES)
    coarse, fine = values[0, :12].view(3, 4, 4), values[0, 12:].view(5, 7, 4)
    x, y = 0.125 * 7 - 0.5, 5 / 6 - 0.5 + 2
    below = (1 - x) * fine[3, 0] + x * fine[3, 1]
    above = (1 - x) * fine[2, 0] + x * fine[2, 1]
    torch.testing.assert_close(out[0, 0], (coarse[0, 1] + (3 - y) * above + (y - 2) * below) / 2)


def test_takes_a_pyramid() -> None:
    layer, references, values = layer_and_inputs()
    assert layer(values[:, :10], references, values, SHAPES).shape == (2, 10, 32)


def test_half_precision_keeps_the_places() -> None:
    layer, references, values = layer_and_inputs()
    reference = layer(values[:, :10], references, values, SHAPES)
    half = values.bfloat16()
    out = layer.bfloat16()(half[:, :10], references, half, SHAPES)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), reference, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_in_one_graph(dynamic: bool) -> None:
    layer, references, values = layer_and_inputs("auto")
    eager = layer(values[:, :10], references, values, SHAPES)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    torch.testing.assert_close(compiled(values[:, :10], references, values, SHAPES), eager)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 attention heads do not divide"):
        MSDeformAttn(32, levels=1, heads=3, points=1)
