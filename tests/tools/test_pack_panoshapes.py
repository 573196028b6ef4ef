import json
import sys
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from safetensors.torch import save_file

from fcclip import get_cfg, load_weights
from fcclip.files.checkpoints import CLIP_PREFIX
from fcclip.zoo import find_pretrained
from tests.tiny import REPOSITORY
from tools import pack_panoshapes

CONFIGS = REPOSITORY / "configs" / "panoshapes"


@pytest.mark.parametrize("name", pack_panoshapes.MODELS)
def test_a_packed_model_is_found_loaded_and_the_same_in_half_precision(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / f"{pack_panoshapes.MODELS[name].name}.yaml"))
    unpacked = cfg.clone()
    base = pack_panoshapes.MODELS[name].builds_on
    clip_weights = str(find_pretrained(base).weights) if base else ""
    options = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS", clip_weights]
    cfg.merge_from_list([*options, "MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS", True])
    state = build_model(cfg).state_dict()
    clip = {key.removeprefix(CLIP_PREFIX): tensor for key, tensor in state.items() if key.startswith(CLIP_PREFIX)}
    save_file(clip, tmp_path / "clip.safetensors")
    torch.save({"model": {key: state[key] for key in state if not key.startswith(CLIP_PREFIX)}}, tmp_path / "head.pth")

    paths = {"clip": tmp_path / "clip.safetensors", "head": tmp_path / "head.pth", "output": tmp_path / "packed"}
    arguments = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    monkeypatch.setattr(sys, "argv", ["pack_panoshapes.py", "--model", name, *arguments])
    monkeypatch.setattr(pack_panoshapes, "measure", lambda name, folder: {"PQ": 1.5})
    pack_panoshapes.main()
    assert json.loads((tmp_path / "packed" / "quality.json").read_text())["PQ"] == 1.5

    found = find_pretrained(tmp_path / "packed")
    assert found.weights.stat().st_size < 12e6
    assert "_BASE_" not in found.config.read_text()
    shipped = get_cfg()
    shipped.merge_from_file(str(found.config))
    assert shipped.MODEL == unpacked.MODEL
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", str(found.weights)])
    model = build_model(cfg)
    load_weights(model, found.weights)
    assert not model.uses_random_weights
    loaded = model.state_dict()
    kept = torch.tensor(sorted(pack_panoshapes.tokens()))
    for key, tensor in state.items():
        rows = kept if key == pack_panoshapes.TOKENS else ...
        assert torch.allclose(tensor[rows].float(), loaded[key][rows].float(), rtol=1e-3, atol=1e-4), key


def test_every_word_of_captions_and_prompts_is_kept():
    import open_clip

    tokenize = open_clip.get_tokenizer("RN50")
    for text in ("a photo of a large striped cyan hourglass on lava", "There is the medium red bolt in the scene."):
        assert set(tokenize(text).flatten().tolist()) <= pack_panoshapes.tokens()
