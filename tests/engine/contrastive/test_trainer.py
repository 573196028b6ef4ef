from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fcclip.clip.loading import load_clip
from fcclip.data.panoshapes.batches import Phase, Plan
from fcclip.data.panoshapes.traces import TracePhase, TracePlan
from fcclip.engine import zero_shot
from fcclip.engine.contrastive.trainer import ContrastivePlan, ContrastiveTrainer
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
    second.model.token_embedding = second.tokens.whole()
    assert all(torch.equal(tensor, first[key]) for key, tensor in second.model.state_dict().items())


def test_a_vit_is_trained_on_traces(tmp_path: Path):
    phases = (TracePhase(0.5, 48, 2, centred=True), TracePhase(0.5, 64, 2))
    data = TracePlan(2, phases, side=64, fresh=1, pool=4)
    trainer = ContrastiveTrainer(ContrastivePlan("panoshapes_vit", data), tmp_path)
    before = {key: tensor.clone() for key, tensor in trainer.model.state_dict().items()}
    after = trainer.train().model.state_dict()
    assert not [key for key in before if key.endswith("weight") and torch.equal(before[key], after[key])]


def test_a_text_tower_that_is_taken_over_stays_as_it_is(tmp_path: Path):
    torch.manual_seed(5)
    other = load_clip("panoshapes_vit", "").model.state_dict()
    save_file({f"backbone.clip_model.{key}": tensor for key, tensor in other.items()}, tmp_path / "other.safetensors")
    data = TracePlan(1, (TracePhase(1.0, 48, 2),), side=64, pool=4)
    plan = ContrastivePlan("panoshapes_vit", data, text_tower=str(tmp_path / "other.safetensors"))
    trainer = ContrastiveTrainer(plan, tmp_path / "output")
    before = {key: tensor.clone() for key, tensor in trainer.model.visual.state_dict().items()}
    after = trainer.train().model.state_dict()
    assert all(torch.equal(after[key], other[key]) for key in after if not key.startswith(("visual.", "logit_scale")))
    weights = [key for key in before if key.endswith("weight")]
    assert not [key for key in weights if torch.equal(before[key], after[f"visual.{key}"])]


def test_a_file_without_a_text_tower_is_an_error(tmp_path: Path):
    save_file({"visual.conv1.weight": torch.zeros(1)}, tmp_path / "half.safetensors")
    data = TracePlan(1, (TracePhase(1.0, 48, 2),), side=64, pool=4)
    with pytest.raises(ValueError, match="has no text tower that fits"):
        ContrastiveTrainer(
            ContrastivePlan("panoshapes_vit", data, text_tower=str(tmp_path / "half.safetensors")), tmp_path
        )


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


def test_accuracies_are_percentages_of_each_group(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    clip = load_clip(TINY, "")
    clip.model.eval()
    vit = load_clip("panoshapes_vit", "")
    vit.model.eval()
    for accuracy in (
        zero_shot.crop_accuracy(clip, 32, scenes=3),
        zero_shot.mask_accuracy(clip, 64, scenes=3),
        zero_shot.mask_accuracy(vit, 64, scenes=3, split="val_few"),
    ):
        assert {"all", "seen thing"} <= set(accuracy)
        assert all(0 <= value <= 100 for value in accuracy.values())
    # A namer that knows the answers is right everywhere.
    answers = iter([int(pair.category) for pair in zero_shot.all_pairs(np.random.default_rng(2001), 3, 32)])
    monkeypatch.setattr(zero_shot, "_name", lambda clip, embeddings, text: [next(answers) for _ in embeddings[0]])
    assert set(zero_shot.crop_accuracy(clip, 32, scenes=3).values()) == {100.0}
