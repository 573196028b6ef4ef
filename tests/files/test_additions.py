from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fcclip.files import schemes
from fcclip.files.additions import BUILDS_ON, base_of
from fcclip.files.checkpoints import holds_prefix, read_state_dict

BASE = {"clip.a": torch.tensor([1.0]), "head": torch.tensor([2.0])}
ADDED = {"head": torch.tensor([3.0]), "adapter": torch.tensor([4.0])}


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that adds to and changes what the model "here:base" has."""
    save_file(BASE, tmp_path / "base.safetensors")
    monkeypatch.setattr(schemes, "_schemes", {"here:": lambda name: tmp_path / f"{name[5:]}.safetensors"})
    save_file(ADDED, tmp_path / "added.safetensors", metadata={BUILDS_ON: "here:base"})
    return tmp_path / "added.safetensors"


def test_what_a_file_has_goes_before_what_it_builds_on(added: Path) -> None:
    assert base_of(added) == added.with_name("base.safetensors")
    assert {key: tensor.item() for key, tensor in read_state_dict(added).items()} == {
        "clip.a": 1.0,
        "head": 3.0,
        "adapter": 4.0,
    }
    assert [holds_prefix(added, prefix) for prefix in ("clip.", "adapter", "other")] == [True, True, False]


def test_a_whole_file_builds_on_nothing(added: Path) -> None:
    assert base_of(added.with_name("base.safetensors")) is None
    assert base_of(Path("model.pth")) is None


def test_a_file_cannot_name_a_path(added: Path) -> None:
    save_file(ADDED, added, metadata={BUILDS_ON: str(added.with_name("base.safetensors"))})
    for read in (read_state_dict, lambda path: holds_prefix(path, "clip.")):
        with pytest.raises(ValueError, match="which is no named model"):
            read(added)


def test_files_cannot_build_on_each_other(added: Path) -> None:
    save_file(BASE, added.with_name("base.safetensors"), metadata={BUILDS_ON: "here:added"})
    with pytest.raises(ValueError, match="is not whole"):
        read_state_dict(added)
