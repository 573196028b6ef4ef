import math

import pytest
import torch
from torch import nn

from fcclip.modeling.attention import MultiheadAttention
from fcclip.modeling.layers import MLP
from fcclip.modeling.pixel_decoder import reference_points
from fcclip.modeling.position_encoding import sine_encoding

CPU = torch.device("cpu")


def test_attention_equals_pytorchs_module() -> None:
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(16, 4, batch_first=True)
    ours = MultiheadAttention(16, 4)
    nn.init.normal_(reference.in_proj_bias)
    ours.load_state_dict(reference.state_dict())
    query, key, value = torch.randn(2, 5, 16), torch.randn(2, 7, 16), torch.randn(2, 7, 16)
    allowed = torch.rand(2, 5, 7) > 0.4
    allowed[:, :, 0] = True
    forbidden = (~allowed).repeat_interleave(4, dim=0)
    expected, _ = reference(query, key, value, attn_mask=forbidden)
    torch.testing.assert_close(ours(query, key, value, allowed), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours(query, key, value), reference(query, key, value)[0], atol=1e-6, rtol=1e-5)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="3 attention heads do not divide a width of 16"):
        MultiheadAttention(16, 3)


def test_sine_encoding_follows_its_formula() -> None:
    encoding = sine_encoding(3, 5, 256, CPU)
    assert encoding.shape == (256, 3, 5)
    for k, i, j in [(0, 0, 0), (1, 2, 3), (6, 1, 4), (127, 2, 0)]:
        omega = 10000 ** (2 * (k // 2) / 128)
        wave = math.sin if k % 2 == 0 else math.cos
        y, x = (i + 1) / (3 + 1e-6) * 2 * math.pi, (j + 1) / (5 + 1e-6) * 2 * math.pi
        assert encoding[k, i, j].item() == pytest.approx(wave(y / omega), abs=1e-5)
        assert encoding[128 + k, i, j].item() == pytest.approx(wave(x / omega), abs=1e-5)


def test_what_is_cached_under_inference_mode_serves_training() -> None:
    with torch.inference_mode():
        encoding = sine_encoding(9, 11, 8, CPU)
        points = reference_points(((9, 11),), CPU)
    assert not encoding.is_inference()
    assert not points.is_inference()


def test_reference_points_are_pixel_centres() -> None:
    points = reference_points(((1, 2), (2, 4)), CPU)
    assert points.shape == (2 + 8, 2)
    torch.testing.assert_close(points[:2], torch.tensor([[0.25, 0.5], [0.75, 0.5]]))
    torch.testing.assert_close(points[-1], torch.tensor([0.875, 0.75]))


def test_mlp_has_relu_between_layers_only() -> None:
    mlp = MLP(1, 1, 1)
    for layer in mlp.layers:
        nn.init.constant_(layer.weight, -1.0)
        nn.init.zeros_(layer.bias)
    assert mlp(torch.tensor([[-2.0]])).item() == -2.0
    assert mlp(torch.tensor([[2.0]])).item() == 0.0
