"""Stages whose blocks go through in pieces give what timm's own stages give."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from timm.models.convnext import ConvNeXtStage
from torch import nn

from fcclip.clip.convnext_blocks import folded_scales, run_stage


def stage(**options: Any) -> Any:
    torch.manual_seed(0)
    made = ConvNeXtStage(8, 16, stride=2, depth=2, ls_init_value=0.5, **options).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made


def norm_layers() -> dict[str, Any]:
    from timm.layers import LayerNorm, LayerNorm2d

    return {"norm_layer": LayerNorm2d, "norm_layer_cl": LayerNorm}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(2, 46, 62), (1, 2, 2)])  # more pixels than a piece has, and one
@torch.no_grad()
def test_pieces_give_the_stage(layout: torch.memory_format, size: tuple[int, int, int]) -> None:
    made = stage(**norm_layers())
    x = torch.randn(size[0], 8, *size[1:]).contiguous(memory_format=layout)
    before = x.clone()
    with patch.object(type(made), "forward", side_effect=AssertionError("the stage itself was run")):
        found = run_stage(made, x)
    torch.testing.assert_close(found, made(x), atol=1e-5, rtol=1e-5)
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.train(),
        lambda made: setattr(made.blocks[1], "gamma", None),
        lambda made: setattr(made.blocks[0], "shortcut", nn.Sequential()),
        lambda made: setattr(made.blocks[0], "mlp", nn.Linear(16, 16)),
    ],
)
@torch.no_grad()
def test_unusual_blocks_go_through_whole(change: Callable[[Any], Any]) -> None:
    made = stage(**norm_layers())
    change(made)
    x = torch.randn(1, 8, 4, 6)
    assert torch.equal(run_stage(made, x), made(x))


@torch.no_grad()
def test_a_norm_over_the_whole_map_is_not_taken_in_pieces() -> None:
    made = stage(use_grn=True, **norm_layers())
    x = torch.randn(1, 8, 60, 80)
    assert torch.equal(run_stage(made, x), made(x))


def test_gradients_flow_through_the_stage_itself() -> None:
    made = stage(**norm_layers())
    run_stage(made, torch.randn(1, 8, 4, 6)).sum().backward()
    assert made.blocks[0].gamma.grad is not None


@pytest.mark.parametrize("options", [{}, {"conv_mlp": True}])
@torch.no_grad()
def test_scales_may_be_a_part_of_the_products(options: dict[str, Any]) -> None:
    norms = norm_layers()
    made = stage(**norms | ({"norm_layer_cl": norms["norm_layer"]} if options else {}), **options)
    x = torch.randn(2, 8, 12, 10)
    expected, weights = made(x), {name: value.clone() for name, value in made.state_dict().items()}
    with folded_scales(made):
        assert made.blocks[0].gamma is None
        assert not torch.equal(made.blocks[0].mlp.fc2.weight, weights["blocks.0.mlp.fc2.weight"])
        torch.testing.assert_close(made(x), expected, atol=1e-5, rtol=1e-5)
    assert made.state_dict().keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in made.state_dict().items())
    assert torch.equal(made(x), expected)
