"""Where things lie: the cache folder, and the configurations that come along."""

from pathlib import Path

import pytest

from fcclip.files.folders import cache_directory, configs_folder, find_config


def test_folder_is_chosen_by_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path / "mine"))
    assert cache_directory() == tmp_path / "mine"
    monkeypatch.delenv("FCCLIP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_directory() == tmp_path / "user" / "fcclip"


@pytest.mark.parametrize("prefix", ["", "configs/"])
def test_configurations_are_found_from_any_folder(prefix: str, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(f"{prefix}panoshapes/fcclip_small.yaml") == configs_folder() / "panoshapes/fcclip_small.yaml"
    assert find_config("gone.yaml") == Path("gone.yaml")


def test_a_file_of_ones_own_goes_first(monkeypatch, tmp_path) -> None:
    own = tmp_path / "panoshapes" / "fcclip_small.yaml"
    own.parent.mkdir()
    own.touch()
    monkeypatch.chdir(tmp_path)
    assert find_config("panoshapes/fcclip_small.yaml").resolve() == own
