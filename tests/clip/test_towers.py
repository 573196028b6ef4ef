import open_clip
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.resnet import ResNetTower
from fcclip.clip.text_tower import embedding_width, encode_text
from tests.tiny import CLIP_DESCRIPTIONS


def tiny_clip(kind: str) -> nn.Module:
    name = CLIP_DESCRIPTIONS[kind]
    if name.stem not in open_clip.list_models():
        open_clip.add_model_config(name)
    torch.manual_seed(0)
    model = open_clip.create_model(name.stem).eval()
    for parameter in model.parameters():  # open_clip starts some at zero, which would hide mistakes
        nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("kind", ["convnext", "resnet"])
@torch.no_grad()
def test_features_are_those_of_the_tower(kind: str) -> None:
    model = tiny_clip(kind)
    tower = ConvNeXtTower(model.visual) if kind == "convnext" else ResNetTower(model.visual)
    images = torch.randn(2, 3, 64, 96)
    features = tower.extract_features(images)
    for name, channels in tower.channels.items():
        stride = {"stem": 4 if kind == "convnext" else 2, "res2": 4, "res3": 8, "res4": 16, "res5": 32}[name]
        assert features[name].shape == (2, channels, 64 // stride, 96 // stride)
    assert torch.equal(features["clip_vis_dense"], features["res5"])


@torch.no_grad()
def test_mask_of_the_whole_image_gives_clips_own_embedding() -> None:
    model = tiny_clip("convnext")
    tower = ConvNeXtTower(model.visual)
    images = torch.randn(1, 3, 64, 64)
    dense = tower.extract_features(images)["clip_vis_dense"]
    embedding = tower.embed_masks(dense, torch.ones(1, 1, *dense.shape[-2:]))
    torch.testing.assert_close(embedding[:, 0], model.encode_image(images), atol=1e-5, rtol=1e-4)


def reference_pooling(pool: nn.Module, dense: Tensor, mask_logits: Tensor) -> Tensor:
    """Full multi-head attention with one (equal) query a mask, by PyTorch's own function."""
    _batch, channels, height, width = dense.shape
    positions = pool.positional_embedding
    side = round((len(positions) - 1) ** 0.5)
    grid = positions[1:].T.reshape(1, channels, side, side)
    grid = F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False).flatten(2).permute(2, 0, 1)
    tokens = dense.flatten(2).permute(2, 0, 1)
    context = tokens + grid
    query = (tokens.mean(dim=0, keepdim=True) + positions[0]).expand(mask_logits.shape[1], -1, -1)
    forbidden = (mask_logits <= 0).flatten(2).repeat_interleave(pool.num_heads, dim=0)
    pooled, _ = F.multi_head_attention_forward(
        query, context, context, channels, pool.num_heads, None,
        torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]), None, None, False, 0.0,
        pool.c_proj.weight, pool.c_proj.bias, False, None, False, forbidden, True,
        pool.q_proj.weight, pool.k_proj.weight, pool.v_proj.weight,
    )  # fmt: skip
    return pooled.transpose(0, 1)


@torch.no_grad()
def test_shared_query_pooling_equals_full_attention() -> None:
    pool = tiny_clip("resnet").visual.attnpool
    dense = torch.randn(2, 256, 3, 5)
    mask_logits = torch.randn(2, 7, 3, 5)
    tower = ResNetTower(nn.ModuleDict({"attnpool": pool}))
    tower.visual.attnpool = pool
    expected = reference_pooling(pool, dense, mask_logits)
    torch.testing.assert_close(tower.embed_masks(dense, mask_logits), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_pooling_over_an_empty_mask_is_finite() -> None:
    model = tiny_clip("resnet")
    embedding = ResNetTower(model.visual).embed_masks(torch.randn(1, 256, 2, 2), -torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(embedding[0, 0], model.visual.attnpool.c_proj.bias)


@torch.no_grad()
def test_trimmed_prompts_give_open_clips_embeddings() -> None:
    model = tiny_clip("resnet")
    prompts = ["a cat", "a photo of a very long prompt with many words", "X"]
    tokens = open_clip.get_tokenizer("tiny_resnet")(prompts)
    expected = model.encode_text(tokens, normalize=False)
    torch.testing.assert_close(encode_text(model, tokens), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encode_text(model, tokens[:1]), expected[:1], atol=1e-5, rtol=1e-4)
    assert embedding_width(model) == 32


@torch.no_grad()
def test_older_open_clip_takes_the_length_first() -> None:
    model = tiny_clip("resnet")
    tokens = open_clip.get_tokenizer("tiny_resnet")(["a cat", "a photo of a dog"])
    expected = encode_text(model, tokens)
    if not hasattr(model.transformer, "batch_first"):
        pytest.skip("the installed open_clip is an older one: the tests above run on it")
    model.transformer = LengthFirst(model.transformer)
    torch.testing.assert_close(encode_text(model, tokens), expected)


class LengthFirst(nn.Module):
    """A transformer as it was before open_clip 2.26: (length, batch, width), and no flag that says so."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, attn_mask: Tensor) -> Tensor:
        return self.inner(x.transpose(0, 1), attn_mask=attn_mask).transpose(0, 1)
