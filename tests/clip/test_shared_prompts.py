"""Prompts that share what they begin with have the embeddings that open_clip gives each alone."""

from collections.abc import Callable
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg
from open_clip.transformer import LayerScale
from torch import Tensor, nn
from torch.nn.functional import normalize

from fcclip.clip.shared_prompts import shares_prompts
from fcclip.clip.text_tower import encode_one_by_one, encode_text, text_tower
from fcclip.text import TEMPLATES

NAMES = ("cat", "small cat", "small cathedral", "a", "traffic light on a pole")
VISION = CLIPVisionCfg(layers=1, width=32, head_width=32, image_size=32, patch_size=16)


def clip(quick_gelu: bool = False, custom: bool = False, **text: Any) -> nn.Module:
    """A CLIP whose weights are large enough for its tokens to matter."""
    torch.manual_seed(0)
    cfg = CLIPTextCfg(width=32, heads=4, layers=3, **text)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    model = kind(16, VISION, cfg, quick_gelu=quick_gelu).eval()
    for parameter in text_tower(model).parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return open_clip.get_tokenizer("RN50")([template.format(name) for name in NAMES for template in TEMPLATES])


@pytest.mark.parametrize(
    "options", [{}, {"quick_gelu": True}, {"custom": True, "proj_bias": True}, {"ls_init_value": 0.5}], ids=str
)
@torch.no_grad()
def test_a_tree_gives_open_clips_embeddings(tokens: Tensor, options: dict[str, Any]) -> None:
    model = clip(**options)
    assert shares_prompts(text_tower(model))
    expected = normalize(model.encode_text(tokens), dim=-1)
    torch.testing.assert_close(normalize(encode_text(model, tokens), dim=-1), expected, atol=1e-5, rtol=0)
    assert (expected[0] - expected[14]).norm() > 0.05  # else the comparison would tell nothing


@torch.no_grad()
def test_linear_layers_see_every_beginning_once(tokens: Tensor) -> None:
    model = clip()
    seen = []
    model.transformer.resblocks[0].mlp.register_forward_hook(lambda module, inputs, _: seen.append(len(inputs[0])))
    encode_text(model, tokens)
    beginnings = {tuple(row[: place + 1].tolist()) for row in tokens for place in range(int(row.argmax()) + 1)}
    assert seen == [len(beginnings)]


def _swap_block(model: Any) -> None:
    model.transformer.resblocks[1] = nn.Sequential()


def _scale_of_ones_own(model: Any) -> None:
    class Own(LayerScale):
        pass

    model.transformer.resblocks[0].ls_1 = Own(32)


def _unmask(model: Any) -> None:
    model.attn_mask[0, 3] = 0


@pytest.mark.parametrize("change", [_swap_block, _scale_of_ones_own, _unmask])
def test_an_unusual_tower_is_known(change: Callable[[Any], None]) -> None:
    model = clip()
    change(model)
    assert not shares_prompts(text_tower(model))


@torch.no_grad()
def test_an_unusual_tower_encodes_prompts_one_by_one(tokens: Tensor) -> None:
    model = clip()
    _unmask(model)
    assert torch.equal(encode_text(model, tokens), encode_one_by_one(model, tokens))


def test_gradients_flow_where_they_are_wanted(tokens: Tensor) -> None:
    model = clip()
    encode_text(model, tokens[:3]).sum().backward()
    assert model.token_embedding.weight.grad is not None
