from pathlib import Path

import numpy as np
import pytest
import torch

from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.loading import load_clip
from fcclip.data.panoshapes.batches import Mosaics, Phase, Plan
from fcclip.engine import zero_shot
from fcclip.engine.contrastive import ContrastivePlan, ContrastiveTrainer, embed_tiles, normalize_pixels
from tests.tiny import CLIP_DESCRIPTIONS

TINY = str(CLIP_DESCRIPTIONS["convnext"])
PHASES = (Phase(0.5, ((32, 1, 9),)), Phase(0.5, ((32, 2, 2), (64, 1, 1))))


def plan(steps: int, start: str = "") -> ContrastivePlan:
    return ContrastivePlan(TINY, Plan(steps, phases=PHASES, fresh=1, pool=4), start=start)


def test_training_changes_every_weight_and_writes_a_clip_that_loads(tmp_path: Path):
    trainer = ContrastiveTrainer(plan(2), tmp_path)
    before = {key: tensor.clone() for key, tensor in trainer.model.state_dict().items()}
    trained = trainer.train()
    after = trained.model.state_dict()
    assert not [key for key in before if key.endswith("weight") and torch.equal(before[key], after[key])]
    loaded = load_clip(TINY, str(tmp_path / "clip.safetensors"))
    assert all(torch.equal(tensor, after[key]) for key, tensor in loaded.model.state_dict().items())


def test_a_training_may_start_from_weights(tmp_path: Path):
    first = ContrastiveTrainer(plan(1), tmp_path / "first").train().model.state_dict()
    second = ContrastiveTrainer(plan(1, str(tmp_path / "first/clip.safetensors")), tmp_path / "second")
    assert all(torch.equal(tensor, first[key]) for key, tensor in second.model.state_dict().items())


def test_a_vit_is_trained_on_single_pictures(tmp_path: Path):
    data = Plan(1, phases=(Phase(1.0, ((64, 1, 4),)),), fresh=1, pool=4)
    clip = ContrastiveTrainer(ContrastivePlan("panoshapes_vit", data), tmp_path).train()
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    assert embed_tiles(clip.model, Mosaics(images, grid=1)).shape == (1, 128)
    with pytest.raises(ValueError, match="a ViT embeds a picture as a whole"):
        embed_tiles(clip.model, Mosaics(images, grid=2))


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path):
    whole = ContrastiveTrainer(plan(3), tmp_path / "whole").train()
    interrupted = ContrastiveTrainer(plan(3), tmp_path / "parts")
    interrupted._update = _stop_after(interrupted, 2)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        interrupted.train(checkpoint_period=1)
    resumed = ContrastiveTrainer(plan(3), tmp_path / "parts").train()
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in resumed.model.state_dict().items())


def _stop_after(trainer: ContrastiveTrainer, steps: int):
    update = trainer._update

    def stopping(batch):
        if trainer.step == steps:
            raise KeyboardInterrupt
        return update(batch)

    return stopping


def test_another_plan_does_not_go_on_in_the_same_folder(tmp_path: Path):
    ContrastiveTrainer(plan(1), tmp_path).train(checkpoint_period=1)
    with pytest.raises(ValueError, match="other settings; choose another output folder"):
        ContrastiveTrainer(plan(2), tmp_path).train()


def test_tiles_are_pooled_on_their_own():
    clip = load_clip(TINY, "")
    clip.model.eval()
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    with torch.no_grad():
        tiles = embed_tiles(clip.model, Mosaics(images, grid=2)).view(2, 4, -1)
        tower = ConvNeXtTower(clip.model.visual)
        dense = tower.extract_features(normalize_pixels(images))["clip_vis_dense"]
        corner = torch.full((2, 1, *dense.shape[-2:]), -1.0)
        corner[..., : dense.shape[-2] // 2, dense.shape[-1] // 2 :] = 1
        assert torch.allclose(tiles[:, 1:2], tower.embed_masks(dense, corner), atol=1e-5)


def test_accuracies_are_percentages_of_each_group(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    clip = load_clip(TINY, "")
    clip.model.eval()
    for accuracy in (zero_shot.crop_accuracy(clip, 32, scenes=3), zero_shot.mask_accuracy(clip, 64, scenes=3)):
        assert {"all", "seen thing"} <= set(accuracy)
        assert all(0 <= value <= 100 for value in accuracy.values())
    # A namer that knows the answers is right everywhere.
    answers = iter([int(pair.category) for pair in zero_shot.all_pairs(np.random.default_rng(2001), 3, 32)])
    monkeypatch.setattr(zero_shot, "_name", lambda clip, embeddings, text: [next(answers) for _ in embeddings[0]])
    assert set(zero_shot.crop_accuracy(clip, 32, scenes=3).values()) == {100.0}
