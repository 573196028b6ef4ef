"""FC-CLIP's backbone as an encoder of the zero-shot systems."""

import pytest
import torch

from tests.tiny import CLIP_DESCRIPTIONS
from tests.zero_shot import CLIP, zero_shot_model

SETTINGS = {
    "MODEL__BACKBONE__NAME": "DenseConvNeXtCLIP",
    "MODEL__FC_CLIP__CLIP_MODEL_NAME": str(CLIP_DESCRIPTIONS["convnext"]),
    "MODEL__ZERO_SHOT__BLOCK_GROUPS": [[1, 2], [3]],
    "MODEL__ZERO_SHOT__CROP_SIZE": 64,
}


@torch.no_grad()
def test_unit_vectors_on_one_grid() -> None:
    backbone = zero_shot_model("CascadeCLIP", **SETTINGS).backbone
    features = backbone(torch.randn(2, 3, 64, 96))
    assert sorted(features.patches) == [1, 2, 3]
    for patches in features.patches.values():
        torch.testing.assert_close(patches.norm(dim=1), torch.ones(2, 4, 6))
    torch.testing.assert_close(features.image.norm(dim=-1), torch.ones(2))


@torch.no_grad()
def test_an_image_of_one_place_is_that_place() -> None:
    features = zero_shot_model("CascadeCLIP", **SETTINGS).backbone(torch.randn(1, 3, 32, 32))
    for row in features.patches[3].flatten(2)[0].T:
        torch.testing.assert_close(row, features.image[0])


@pytest.mark.parametrize("trained", [True, False])
def test_training(trained) -> None:
    settings = {**SETTINGS, "MODEL__ZERO_SHOT__TRAIN_LEVEL_PROJECTION": trained}
    model = zero_shot_model("CascadeCLIP", **settings).train()
    assert not model.backbone.clip_model.training
    example = {"image": torch.rand(3, 50, 60) * 255, "sem_seg": torch.randint(0, 20, (50, 60))}
    sum(model([example]).values()).backward()
    gradients = [parameter.grad for parameter in model.backbone.parameters() if parameter.requires_grad]
    assert len(gradients) == (6 if trained else 0)
    assert all(gradient is not None for gradient in gradients)
    assert all(not name.startswith("clip_model") for name, p in model.backbone.named_parameters() if p.requires_grad)


def test_zegclip_on_it() -> None:
    model = zero_shot_model("ZegCLIP", **{**SETTINGS, "MODEL__ZERO_SHOT__BLOCK_GROUPS": [[-1]]})
    assert model([{"image": torch.rand(3, 64, 64)}])[0]["sem_seg"].shape == (20, 64, 64)


def test_other_towers_are_refused() -> None:
    with pytest.raises(ValueError, match="is not a ConvNeXt; choose one, or use ViTCLIP"):
        zero_shot_model("CascadeCLIP", **{**SETTINGS, "MODEL__FC_CLIP__CLIP_MODEL_NAME": str(CLIP)})
