"""Cascade-CLIP: groups of blocks, and that a single group of the last block is ZegCLIP."""

import pytest
import torch
from torch import Tensor

from tests.zero_shot import zero_shot_model

TEXT = torch.nn.functional.normalize(torch.randn(4, 64, generator=torch.Generator().manual_seed(0)), dim=-1)
IMAGES = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_maps_of_the_decoders_add_up() -> None:
    model = zero_shot_model("CascadeCLIP")
    maps: list[Tensor] = []
    for decoder in model.decoders:
        decoder.register_forward_hook(lambda module, inputs, output: maps.append(output))
    total = model.classify(model.decode(IMAGES), TEXT)
    assert len(maps) == 3
    torch.testing.assert_close(total, sum(maps))


@torch.no_grad()
def test_a_single_group_of_the_last_block_is_zegclip() -> None:
    cascade = zero_shot_model("CascadeCLIP", MODEL__ZERO_SHOT__BLOCK_GROUPS=[[-1]])
    zegclip = zero_shot_model("ZegCLIP")
    state = {
        key.replace("descriptors.0", "descriptor").replace("decoders.0", "decoder"): tensor
        for key, tensor in cascade.state_dict().items()
    }
    zegclip.load_state_dict(state)
    assert torch.equal(cascade.mask_logits(IMAGES, TEXT), zegclip.mask_logits(IMAGES, TEXT))


@pytest.mark.parametrize("groups", [[[5, 6, 7, 8, 9, 10, 11]], [[8, 9], [-1]], [[3]]], ids=str)
def test_groups(groups) -> None:
    model = zero_shot_model("CascadeCLIP", MODEL__ZERO_SHOT__BLOCK_GROUPS=groups).train()
    model.mask_logits(IMAGES, TEXT).sum().backward()
    assert len(model.decoders) == len(model.descriptors) == len(groups)
    weights = [aggregation.weights for aggregation in model.aggregations]
    assert [weight is not None for weight in weights] == [len(group) > 1 for group in groups]
    assert all(weight.grad.abs().sum() > 0 for weight in weights if weight is not None)


def test_projections_of_earlier_blocks_are_saved() -> None:
    """They are random and not trained, so that a checkpoint without them would be worthless."""
    state = zero_shot_model("CascadeCLIP").state_dict()
    assert state["backbone.level_projections"].shape == (6, 96, 64)
    assert not zero_shot_model("CascadeCLIP").backbone.level_projections.requires_grad


def test_decoders_start_differently() -> None:
    first, second, _ = zero_shot_model("CascadeCLIP").decoders
    assert not torch.equal(first.layers[0].linear1.weight, second.layers[0].linear1.weight)


@torch.no_grad()
def test_an_aligned_start_is_that_of_the_last_decoder() -> None:
    model = zero_shot_model("CascadeCLIP", MODEL__ZERO_SHOT__ALIGNED_START=True)
    images = torch.randn(1, 3, 128, 128)
    text = torch.nn.functional.normalize(torch.randn(3, model.backbone.dim_latent), dim=-1)
    features = model.backbone(images)
    queries = model.descriptors[-1](text, features.image)
    alone = model.decoders[-1](queries, features.patches[model.backbone.depth - 1])
    torch.testing.assert_close(model.classify(model.decode(images), text), alone)
    assert alone.std() > 0.1
