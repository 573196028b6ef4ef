"""Trained models are found by path or name, and what is missing is named."""

from pathlib import Path

import pytest

from fcclip import zoo
from fcclip.zoo import CONFIGS, PUBLISHED, find_pretrained


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.pth", "model.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def test_file_and_folder(folder: Path) -> None:
    for given in (folder, folder / "model.pth", str(folder)):
        found = find_pretrained(given)
        assert (found.config, found.weights) == (folder / "model.yaml", folder / "model.pth")


def test_configuration_of_the_same_name_wins(folder: Path) -> None:
    (folder / "other.yaml").touch()
    assert find_pretrained(folder / "model.pth").config.name == "model.yaml"
    (folder / "model.yaml").unlink()
    assert find_pretrained(folder / "model.pth").config.name == "other.yaml"


def test_missing_and_ambiguous_files(folder: Path) -> None:
    (folder / "second.safetensors").touch()
    with pytest.raises(ValueError, match=r"model\.pth, second\.safetensors"):
        find_pretrained(folder)
    (folder / "model.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks the configuration of model\.pth"):
        find_pretrained(folder / "model.pth")
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="lacks the checkpoint"):
        find_pretrained(folder / "empty")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint .*none\.pth"):
        find_pretrained(folder / "none.pth")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="fcclip_convnext_large, fcclip_r50"):
        find_pretrained("fcclip_convnext_larg")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_lie_in_the_cache_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    weights = tmp_path / "weights" / f"{name}.pth"
    with pytest.raises(FileNotFoundError, match="save it as") as error:
        find_pretrained(name)
    assert str(weights) in str(error.value)
    weights.parent.mkdir()
    weights.touch()
    found = find_pretrained(name)
    assert found.weights == weights
    assert found.config.parent == CONFIGS
    assert found.config.is_file()


def test_shipped_models_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small").mkdir()
    for name in ("model.safetensors", "model.yaml", "README.md"):
        (tmp_path / "small" / name).touch()
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path)
    assert find_pretrained("small").weights == tmp_path / "small" / "model.safetensors"
    with pytest.raises(ValueError, match="one of small, fcclip_convnext_large"):
        find_pretrained("nonesuch")
