import pickle
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from fcclip.clip import loading
from fcclip.clip.loading import load_clip, missing_clip
from fcclip.weights import fingerprint
from tests.tiny import CLIP_DESCRIPTIONS, tiny_model

NAME = str(CLIP_DESCRIPTIONS["resnet"])


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return load_clip(NAME, "").model.state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_local_file_is_loaded(tmp_path, state, suffix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}}, path)
    loaded = load_clip(NAME, str(path))
    assert loaded.source == str(path)
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.model.state_dict().items())


def test_file_of_another_model_is_refused(tmp_path, state) -> None:
    path = tmp_path / "other.safetensors"
    save_file({key: tensor for key, tensor in state.items() if key != "ln_final.weight"}, path)
    with pytest.raises(ValueError, match=r"does not hold the CLIP model .*1 tensors differ \(ln_final.weight\)"):
        load_clip(NAME, str(path))


def test_without_a_source_weights_are_random() -> None:
    assert load_clip(NAME, "").source is None


def test_building_leaves_the_root_logger_as_it_was() -> None:
    code = (
        "import logging\n"
        "from fcclip.clip.loading import load_clip, missing_clip\n"
        f"load_clip({NAME!r}, '')\n"
        "assert not logging.root.handlers and not logging.root.filters\n"
        "logging.getLogger('here').warning('of the program')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "of the program"


def test_unknown_names_are_named() -> None:
    with pytest.raises(ValueError, match='no model "convnext_huge"'):
        load_clip("convnext_huge", "")
    with pytest.raises(ValueError, match='has no weights "laion3b"; give one of openai, yfcc15m'):
        load_clip("RN50", "laion3b")
    with pytest.raises(FileNotFoundError, match=r"no CLIP weight file .*none\.pt"):
        load_clip(NAME, "/nowhere/none.pt")
    with pytest.raises(FileNotFoundError, match="no CLIP model description"):
        load_clip("/nowhere/model.json", "")


def test_without_network_the_file_to_fetch_is_named(monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.create_model", fail)
    with pytest.raises(RuntimeError, match=r"fetch .*laion/CLIP-convnext_large_d_320.*model.safetensors and save them"):
        load_clip("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(RuntimeError, match="cannot download me/my-clip"):
        load_clip("RN50", "hf-hub:me/my-clip")


def test_openai_tag_asks_for_quick_gelu(monkeypatch, state) -> None:
    asked = {}

    def create(name: str, **options: object) -> torch.nn.Module:
        asked[name] = options
        return torch.nn.Identity()

    monkeypatch.setattr("open_clip.create_model", create)
    load_clip("RN50", "openai")
    load_clip("RN50", "yfcc15m")
    assert asked["RN50"] == {"pretrained": "yfcc15m", "force_quick_gelu": False}
    load_clip("RN50", "openai")
    assert asked["RN50"] == {"pretrained": "openai", "force_quick_gelu": True}


@pytest.mark.parametrize(("tag", "gelu"), [("openai", "QuickGELU"), ("mine", "GELU")])
def test_published_weights_that_were_saved_by_hand_are_taken(tmp_path, monkeypatch, state, tag: str, gelu: str) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    monkeypatch.setattr("open_clip.list_pretrained_tags_by_model", lambda _: [tag])
    monkeypatch.setattr("open_clip.get_pretrained_cfg", lambda *_: {"hf_hub": "me/my-clip/weights.safetensors"})
    path = tmp_path / "weights" / "clip" / f"{CLIP_DESCRIPTIONS['resnet'].stem}-{tag}.safetensors"
    assert missing_clip(CLIP_DESCRIPTIONS["resnet"].stem, tag).endswith(
        f"from https://huggingface.co/me/my-clip/resolve/main/weights.safetensors and save them as {path}"
    )
    path.parent.mkdir(parents=True)
    save_file(state, path)
    loaded = load_clip(NAME, tag)
    assert loaded.source == f"{CLIP_DESCRIPTIONS['resnet'].stem}/{tag}"
    assert all(torch.equal(tensor, state[key]) for key, tensor in loaded.model.state_dict().items())
    assert gelu in {type(module).__name__ for module in loaded.model.transformer.modules()}


def test_torchscript_archive_is_read_as_data_with_quick_gelu(tmp_path, state) -> None:
    """OpenAI's own files are TorchScript archives whose text tower uses QuickGELU."""
    path = tmp_path / "RN.pt"
    holder = torch.nn.Module()
    for key, tensor in state.items():
        parent = holder
        *folders, name = key.split(".")
        for folder in folders:
            if folder not in dict(parent.named_children()):
                parent.add_module(folder, torch.nn.Module())
            parent = getattr(parent, folder)
        parent.register_buffer(name, tensor)
    holder.register_buffer("input_resolution", torch.tensor(64))
    torch.jit.save(torch.jit.script(holder), path)
    model = load_clip(NAME, str(path)).model
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert "QuickGELU" in {type(module).__name__ for module in model.transformer.modules()}


def test_without_a_name_server_nothing_is_tried_twice(monkeypatch, caplog) -> None:
    """The hub's client would look for each file six times, for most of a minute."""
    lookups = []

    def no_address(host: str, *_: object, **__: object) -> None:
        lookups.append(host)
        raise OSError("Name or service not known")

    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("socket.getaddrinfo", no_address)
    with pytest.raises(RuntimeError, match=r"the CLIP weights convnext_base_w/laion2b_s13b_b82k_augreg were not f"):
        load_clip("convnext_base_w", "laion2b_s13b_b82k_augreg")
    assert len(lookups) == 1
    assert caplog.text == ""
    assert not constants.HF_HUB_OFFLINE


def test_the_clip_of_a_whole_model_is_taken(tmp_path) -> None:
    whole = tiny_model(seed=3)
    torch.save({"model": whole.state_dict()}, tmp_path / "whole.pth")
    loaded = load_clip(str(CLIP_DESCRIPTIONS["convnext"]), str(tmp_path / "whole.pth"))
    assert loaded.source == str(tmp_path / "whole.pth")
    assert fingerprint(loaded.model) == fingerprint(whole.backbone.clip_model)


def test_a_tokenizer_does_not_remember_words_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(loading, "MOST_WORDS", 5)
    tokenizer = load_clip(NAME, "").tokenizer
    names = ["zebra crossing", "okapi", "quokka", "aardvark wombat", "z" * 100]
    first = tokenizer(names)
    assert len(tokenizer.cache) == 5
    assert torch.equal(tokenizer(names), first)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert torch.equal(copy(names), first)
    monkeypatch.setattr(loading, "MOST_WORDS", 100)
    tokenizer(names)
    assert {"zebra", "wombat"} <= set(tokenizer.cache)
    assert max(map(len, tokenizer.cache)) <= loading.LONGEST_WORD
