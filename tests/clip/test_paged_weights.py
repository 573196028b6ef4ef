"""The text tower in a file: bit for bit the same, out of memory, and changed by what is loaded into it."""

import copy
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from fcclip import Vocabulary
from fcclip.clip.paged_weights import PagedWeights
from fcclip.clip.text_tower import text_parameters, text_weights
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.weights import fingerprint
from tests.tiny import tiny_model

needs_smaps = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells what is resident")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(folder: Path) -> FCCLIP:
    return tiny_model(MODEL__FC_CLIP__RELEASE_TEXT_TOWER=True)


def name(model: FCCLIP, names: str) -> torch.Tensor:
    model.set_vocabulary(Vocabulary.from_string(names))
    return model.vocabularies.test(model.device).text.embeddings


def resident(address: int) -> int:
    """Bytes in memory of the mapping that an address lies in."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first and not first.endswith(":"):
            start, stop = (int(part, 16) for part in first.split("-"))
            inside = start <= address < stop
        elif inside and first == "Rss:":
            return 1024 * int(line.split()[1])
    raise AssertionError("the address is not mapped")


@needs_smaps
def test_pages_leave_memory_and_come_back(folder: Path) -> None:
    parameters = [nn.Parameter(torch.randn(1000, 300)), nn.Parameter(torch.tensor(2.0).bfloat16())]
    expected = [parameter.detach().clone() for parameter in parameters]
    paged = PagedWeights()
    paged.hold(parameters, folder)
    address = parameters[0].data_ptr()
    assert resident(address) == 0
    assert all(torch.equal(one, other) for one, other in zip(parameters, expected, strict=True))
    assert resident(address) >= 1000 * 300 * 4
    paged.hold(parameters, folder)
    assert resident(address) == 0
    assert parameters[0].data_ptr() == address, "what is held stays where it is"
    assert not list(folder.iterdir()), "the file has no name"


def test_what_is_written_stays(folder: Path) -> None:
    layer = nn.Linear(300, 200)
    paged = PagedWeights()
    paged.hold(list(layer.parameters()), folder)
    loaded = nn.Linear(300, 200).state_dict()
    layer.load_state_dict(loaded)
    paged.hold(list(layer.parameters()), folder)
    assert all(torch.equal(tensor, loaded[key]) for key, tensor in layer.state_dict().items())
    layer.load_state_dict({key: tensor + 1 for key, tensor in loaded.items()}, assign=True)
    paged.hold(list(layer.parameters()), folder)
    assert all(torch.equal(tensor, loaded[key] + 1) for key, tensor in layer.state_dict().items())


def test_every_vocabulary_is_encoded_as_from_memory(model: FCCLIP, tmp_path: Path) -> None:
    plain = tiny_model()
    digest = fingerprint(plain)
    for names in ("cat; sky=stuff", "dog,puppy; forklift"):
        with torch.inference_mode():
            found = name(model, names)
        assert torch.equal(found, name(plain, names))
    assert fingerprint(model) == digest
    torch.save(model.state_dict(), tmp_path / "saved.pth")
    saved = torch.load(tmp_path / "saved.pth", weights_only=True)
    assert all(torch.equal(tensor, saved[key]) for key, tensor in plain.state_dict().items())


def test_all_of_the_text_tower_is_released_and_nothing_else(model: FCCLIP) -> None:
    def addresses() -> dict[str, int]:
        return {key: parameter.data_ptr() for key, parameter in model.named_parameters()}

    before = addresses()
    name(model, "cat")
    moved = {key for key, address in addresses().items() if address != before[key]}
    clip = model.backbone.clip_model
    parameters = {key for key, _ in clip.named_parameters()}
    assert moved == {f"backbone.clip_model.{key}" for key in text_weights(clip) if key in parameters}
    assert len(moved) == len(text_parameters(clip)) > 10


def test_other_weights_can_be_loaded(model: FCCLIP) -> None:
    name(model, "cat")
    other = tiny_model(seed=1)
    model.load_state_dict(other.state_dict())
    assert torch.equal(name(model, "cat"), name(other, "cat"))
    model.backbone.release_text_tower()
    assert fingerprint(model) == fingerprint(other)


def test_a_copy_is_independent(model: FCCLIP) -> None:
    expected = name(model, "cat; sky")
    clone = copy.deepcopy(model)
    name(clone, "cat")
    with torch.no_grad():
        clone.backbone.clip_model.token_embedding.weight.zero_()
    clone.vocabularies.forget_embeddings()
    model.vocabularies.forget_embeddings()
    assert torch.equal(name(model, "cat; sky"), expected)
    assert not torch.equal(name(clone, "cat; sky"), expected)


def test_a_folder_that_cannot_be_written_costs_memory_only(
    model: FCCLIP, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file where the folder should be")
    expected = name(tiny_model(), "cat")
    with caplog.at_level(logging.WARNING, logger="fcclip"):
        assert torch.equal(name(model, "cat"), expected)
        name(model, "dog")
    messages = [record.message for record in caplog.records if "text tower" in record.message]
    assert len(messages) == 1
    assert messages[0].startswith("the text tower stays in memory: ")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_the_text_tower_waits_on_the_host(folder: Path) -> None:
    plain = tiny_model(MODEL__DEVICE="cuda")
    model = tiny_model(MODEL__DEVICE="cuda", MODEL__FC_CLIP__RELEASE_TEXT_TOWER=True)
    for names in ("cat", "dog; sky"):
        torch.testing.assert_close(name(model, names), name(plain, names))
        text = text_parameters(model.backbone.clip_model)
        assert {parameter.device.type for parameter in text} == {"cpu"}
        assert model.device.type == model.backbone.device.type == "cuda"


def test_nothing_is_released_unless_asked_for(folder: Path) -> None:
    model = tiny_model()
    address = model.backbone.clip_model.token_embedding.weight.data_ptr()
    name(model, "cat")
    assert model.backbone.clip_model.token_embedding.weight.data_ptr() == address
