"""Published checkpoints to ours and back, and files that are something else."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model

from fcclip import load_weights
from fcclip.commands.convert import main
from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.files.checkpoints import CLIP_PREFIX
from fcclip.mmseg import checkpoint as mmseg_checkpoint
from fcclip.mmseg.keys import to_published
from fcclip.segmenter import Segmenter
from tests.tiny import tiny_model
from tests.zero_shot import CLIP, zero_shot_cfg, zero_shot_model

ARCHITECTURES = ("ZegCLIP", "CascadeCLIP")


@pytest.fixture(params=ARCHITECTURES)
def architecture(request) -> str:
    return request.param


@pytest.fixture
def published(tmp_path, architecture) -> Path:
    """A tiny checkpoint in the published layout, with what a trainer adds."""
    state = to_published(zero_shot_model(architecture, seed=3).state_dict())
    path = tmp_path / "published.pth"
    torch.save({"meta": {"iter": 20000, "CLASSES": ("a", "b")}, "state_dict": state, "optimizer": {"state": {}}}, path)
    return path


def strict_model(architecture: str, **overrides: Any) -> torch.nn.Module:
    return build_model(zero_shot_cfg(architecture, MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False, **overrides)).eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_both_ways_without_loss(tmp_path, published, suffix) -> None:
    ours, back = tmp_path / f"ours{suffix}", tmp_path / "back.pth"
    assert main([str(published), str(ours)]) == 0
    assert main([str(ours), str(back)]) == 0
    original = torch.load(published, weights_only=True)["state_dict"]
    returned = torch.load(back, weights_only=True)["state_dict"]
    assert returned.keys() == original.keys()
    assert all(torch.equal(tensor, returned[key]) for key, tensor in original.items())


def test_converted_file_is_loaded(tmp_path, published, architecture) -> None:
    ours = tmp_path / "ours.pth"
    main([str(published), str(ours)])
    model = strict_model(architecture)
    report = load_weights(model, ours)
    assert report.missing == report.unexpected == ()
    assert not model.uses_random_weights
    expected = zero_shot_model(architecture, seed=3)
    images, text = torch.randn(1, 3, 64, 96), torch.nn.functional.normalize(torch.randn(4, 64), dim=-1)
    assert torch.equal(model.mask_logits(images, text), expected.mask_logits(images, text))


def test_unconverted_file_says_what_to_do(published, architecture) -> None:
    with pytest.raises(ValueError, match="convert it first: python -m fcclip convert"):
        load_weights(strict_model(architecture), published)


def test_converted_file_as_model_weights(tmp_path, published, architecture) -> None:
    """It brings its own CLIP, so none is fetched."""
    ours = tmp_path / "ours.pth"
    main([str(published), str(ours)])
    cfg = zero_shot_cfg(
        architecture,
        MODEL__WEIGHTS=str(ours),
        MODEL__FC_CLIP__ALLOW_RANDOM_WEIGHTS=False,
        MODEL__FC_CLIP__CLIP_PRETRAINED_WEIGHTS="openai",
    )
    assert not Segmenter.from_cfg(cfg).model.uses_random_weights


def test_other_number_of_classes(tmp_path, published, architecture) -> None:
    """Published checkpoints hold a constant a class, which another data set need not agree with."""
    ours = tmp_path / "ours.pth"
    main([str(published), str(ours)])
    model = strict_model(architecture, MODEL__ZERO_SHOT__SETTING="fully_supervised")
    load_weights(model, ours)
    assert model.criterion.empty_weight.shape == (21,)
    assert not model.uses_random_weights


def refusal(arguments: list[Any], capsys) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_checkpoint_without_clip_asks_for_it(tmp_path, architecture, capsys) -> None:
    state = zero_shot_model(architecture).state_dict()
    head = {key: tensor for key, tensor in state.items() if not key.startswith(CLIP_PREFIX)}
    torch.save({"model": head}, tmp_path / "model_final.pth")
    assert "--clip" in refusal([tmp_path / "model_final.pth", tmp_path / "out.pth"], capsys)
    assert not (tmp_path / "out.pth").exists()


def test_trained_checkpoint_with_its_clip(tmp_path, architecture, monkeypatch, capsys) -> None:
    """What the training saves, and the file of the CLIP that it was started with; not of another one."""
    monkeypatch.setattr(mmseg_checkpoint, "CLIP_NAME", str(CLIP))
    monkeypatch.setattr(mmseg_checkpoint, "PUBLISHED_GRID", 6)
    model = zero_shot_model(architecture, MODEL__ZERO_SHOT__CROP_SIZE=96)
    TrainingCheckpointer(model, str(tmp_path)).save_weights("model_final")
    for name, seed in (("clip.pt", 0), ("other.pt", 5)):
        torch.save(zero_shot_model("DenseCLIP", seed=seed).backbone.clip_model.state_dict(), tmp_path / name)
    arguments = [str(tmp_path / "model_final.pth"), str(tmp_path / "published.pth"), "--clip"]
    assert "another CLIP" in refusal([*arguments, tmp_path / "other.pt"], capsys)
    assert main([*arguments, str(tmp_path / "clip.pt")]) == 0
    converted = torch.load(tmp_path / "published.pth", weights_only=True)["state_dict"]
    expected = to_published(model.state_dict())
    assert converted.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in converted.items())


@pytest.mark.parametrize("change", ["lacks", "has too much"])
def test_incomplete_checkpoint(tmp_path, published, change, capsys) -> None:
    content = torch.load(published, weights_only=True)
    if change == "lacks":
        del content["state_dict"]["backbone.transformer.resblocks.4.ln_1.bias"]
        tensor = "resblocks.4.ln_1.bias"
    else:
        tensor = "decode_head.conv_seg.weight"
        content["state_dict"][tensor] = torch.zeros(2)
    torch.save(content, published)
    message = refusal([published, tmp_path / "out.pth"], capsys)
    assert change in message
    assert tensor in message


def test_a_model_of_another_kind(tmp_path, capsys) -> None:
    torch.save({"model": tiny_model().state_dict()}, tmp_path / "fcclip.pth")
    assert "not a checkpoint of ZegCLIP" in refusal([tmp_path / "fcclip.pth", tmp_path / "out.pth"], capsys)


def test_ablations_have_no_published_counterpart(tmp_path, capsys) -> None:
    model = zero_shot_model("ZegCLIP", MODEL__ZERO_SHOT__LOSS="softmax")
    torch.save({"model": model.state_dict()}, tmp_path / "softmax.pth")
    assert "lacks" in refusal([tmp_path / "softmax.pth", tmp_path / "out.pth"], capsys)


def test_code_in_a_file_is_not_run(tmp_path, capsys) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    (tmp_path / "bad.pth").write_bytes(pickle.dumps({"state_dict": Malicious()}))
    assert "not a plain weight file" in refusal([tmp_path / "bad.pth", tmp_path / "out.pth"], capsys)
    assert not (tmp_path / "ran").exists()


def test_missing_and_same_file(tmp_path, capsys) -> None:
    assert "no weight file" in refusal([tmp_path / "no.pth", tmp_path / "out.pth"], capsys)
    assert "same file" in refusal([tmp_path / "a.pth", tmp_path / "a.pth"], capsys)
