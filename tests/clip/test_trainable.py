"""A CLIP that is trained with the mask generator, and what a checkpoint then holds."""

import pytest
import torch

from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.files.checkpoints import CLIP_PREFIX, read_checkpoint
from fcclip.speed.acceleration import accelerate_training
from tests.seeded import seed_by_name
from tests.tiny import tiny_cfg, tiny_model

TRAINED = {"MODEL__BACKBONE__NAME": "TrainableCLIP"}


def test_gradients_reach_the_image_tower_and_not_the_text_tower() -> None:
    backbone = tiny_model(**TRAINED).train().backbone
    features = backbone.training_features(torch.randn(1, 3, 64, 64))
    sum(x.sum() for x in features.values()).backward()
    visual = [p for name, p in backbone.clip_model.named_parameters() if name.startswith("visual.trunk.stages")]
    assert all(parameter.grad is not None for parameter in visual)
    text = [p for name, p in backbone.clip_model.named_parameters() if not name.startswith("visual.")]
    assert not any(parameter.requires_grad for parameter in text)


def test_features_are_those_of_the_frozen_one() -> None:
    frozen, trained = tiny_model(), tiny_model(**TRAINED)
    for model in (frozen, trained):
        seed_by_name(model)
    image = torch.randn(1, 3, 64, 64)
    expected = frozen.backbone.training_features(image)
    found = trained.backbone.training_features(image)
    for name, x in expected.items():  # the frozen one may take its blocks in pieces
        torch.testing.assert_close(found[name], x)


@pytest.mark.parametrize(("overrides", "has_clip"), [({}, False), (TRAINED, True)])
def test_a_checkpoint_holds_the_clip_only_if_it_was_trained(tmp_path, overrides, has_clip) -> None:
    TrainingCheckpointer(tiny_model(**overrides), str(tmp_path)).save("model")
    keys = read_checkpoint(tmp_path / "model.pth")["model"].keys()
    assert any(key.startswith(CLIP_PREFIX) for key in keys) == has_clip


def test_it_is_trained_in_its_own_precision() -> None:
    with pytest.raises(ValueError, match="leave MODEL.FC_CLIP.TRAINING_TOWER_DTYPE at float32"):
        accelerate_training(tiny_model(**TRAINED), tiny_cfg(MODEL__FC_CLIP__TRAINING_TOWER_DTYPE="bfloat16"))
