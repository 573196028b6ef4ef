"""The prompted ViT: what is trained, where the prompts stand, grids of any shape."""

import pytest
import torch
from detectron2.modeling import build_backbone

from fcclip.clip.vit import ViTCLIP
from fcclip.clip.vit_tokens import DeepPrompts, embed_patches
from tests.zero_shot import zero_shot_cfg


def backbone(**overrides: object) -> ViTCLIP:
    torch.manual_seed(0)
    return build_backbone(zero_shot_cfg(**overrides)).eval()


def trainable(module: torch.nn.Module) -> set[str]:
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


def test_only_prompts_are_trained() -> None:
    assert trainable(backbone(architecture="CascadeCLIP")) == {
        *("prompts.first", "prompts.deep", "prompts.project.weight", "prompts.project.bias"),
        *("prompts.norm.weight", "prompts.norm.bias"),
    }


def test_encoders() -> None:
    assert trainable(backbone(MODEL__ZERO_SHOT__ENCODER="fixed")) == set()
    tuned = trainable(backbone(MODEL__ZERO_SHOT__ENCODER="fine_tuned"))
    assert tuned
    assert all(name.startswith("clip_model.visual.") for name in tuned)
    with pytest.raises(ValueError, match='ENCODER is "tuned"; choose one of prompt_tuned, fine_tuned, fixed'):
        backbone(MODEL__ZERO_SHOT__ENCODER="tuned")


def test_earlier_projections_can_start_from_clip_and_be_trained() -> None:
    settings = {"MODEL__ZERO_SHOT__LEVEL_PROJECTION": "clip", "MODEL__ZERO_SHOT__TRAIN_LEVEL_PROJECTION": True}
    vit = backbone(architecture="CascadeCLIP", **settings)
    assert {"level_projections", "level_norms.0.weight"} <= trainable(vit)
    assert all(torch.equal(projection, vit.clip_model.visual.proj) for projection in vit.level_projections)
    random = backbone(architecture="CascadeCLIP").level_projections
    assert random.std().item() == pytest.approx(96**-0.5, rel=0.02)
    with pytest.raises(ValueError, match='LEVEL_PROJECTION is "none"; choose one of random, clip'):
        backbone(architecture="CascadeCLIP", MODEL__ZERO_SHOT__LEVEL_PROJECTION="none")


def test_prompts_are_replaced_in_every_block() -> None:
    prompts = DeepPrompts(blocks=3, tokens=2, width=8, patch_size=4, dropout=0.0)
    x = torch.randn(5, 7, 8)
    first = prompts.insert(x, 0)
    assert torch.equal(first[:, :1], x[:, :1])
    assert torch.equal(first[:, 3:], x[:, 1:])
    second = prompts.insert(first, 1)
    assert second.shape == first.shape
    assert torch.equal(second[:, 3:], first[:, 3:])
    expected = prompts.project(prompts.deep[0]).expand(5, -1, -1)
    torch.testing.assert_close(second[:, 1:3], expected)


def test_prompt_initialisation() -> None:
    prompts = DeepPrompts(blocks=12, tokens=50, width=768, patch_size=16, dropout=0.1)
    assert prompts.deep.abs().max().item() == pytest.approx(0.0625, rel=1e-3)
    assert prompts.project.weight.std().item() == pytest.approx((2 / 768) ** 0.5, rel=0.01)
    assert prompts.norm.eps == 1e-6


def test_dropout_is_drawn_for_every_image_in_training_only() -> None:
    vit = backbone()
    images = torch.randn(1, 3, 32, 32).repeat(2, 1, 1, 1)
    assert torch.equal(*vit(images).image)
    vit.train()
    assert not torch.equal(*vit(images).image)
    assert not vit.clip_model.training


@pytest.mark.parametrize("size", [(128, 128), (48, 80), (33, 64), (16, 16)])
@torch.no_grad()
def test_grids_of_any_shape(size) -> None:
    vit = backbone(architecture="CascadeCLIP")
    features = vit(torch.randn(2, 3, *size))
    assert sorted(features.patches) == [5, 6, 7, 8, 9, 10, 11]
    for patches in features.patches.values():
        assert patches.shape == (2, 64, size[0] // 16, size[1] // 16)
        torch.testing.assert_close(patches.norm(dim=1), torch.ones(2, size[0] // 16, size[1] // 16))
    torch.testing.assert_close(features.image.norm(dim=1), torch.ones(2))


@torch.no_grad()
def test_value_patches_are_those_of_plain_clip() -> None:
    """With an image of a single patch and no class token to look at, attention gives the values of the patch."""
    vit = backbone(MODEL__ZERO_SHOT__ENCODER="fixed")
    images = torch.randn(1, 3, 16, 16)
    visual = vit.clip_model.visual
    x, _ = embed_patches(visual, images)
    for layer in visual.transformer.resblocks[:-1]:
        x = layer(x)
    last = visual.transformer.resblocks[-1]
    patch = last.ln_1(x[:, 1:])
    attended, _ = last.attn(patch, patch, patch)
    expected = torch.nn.functional.normalize(visual.ln_post(attended) @ visual.proj, dim=-1)
    torch.testing.assert_close(vit.value_patches(images).flatten(1), expected[:, 0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_first_tokens_are_those_of_open_clip() -> None:
    """At the size of the stored positions, with the class embedding once."""
    vit = backbone(MODEL__ZERO_SHOT__ENCODER="fixed")
    captured = []
    visual = vit.clip_model.visual
    hook = visual.transformer.register_forward_pre_hook(lambda module, inputs: captured.append(inputs[0]))
    images = torch.randn(2, 3, 128, 128)
    visual(images)
    hook.remove()
    torch.testing.assert_close(embed_patches(visual, images)[0], captured[0])


def test_other_towers_and_blocks_are_refused() -> None:
    from tests.tiny import CLIP_DESCRIPTIONS

    with pytest.raises(ValueError, match="is not a CLIP ViT; choose one"):
        backbone(MODEL__FC_CLIP__CLIP_MODEL_NAME=str(CLIP_DESCRIPTIONS["convnext"]))
    with pytest.raises(ValueError, match="names block 12; this CLIP has blocks 0 to 11"):
        backbone(MODEL__ZERO_SHOT__BLOCK_GROUPS=[[12]])
