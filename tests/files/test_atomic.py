"""Scratch files: of killed processes they are swept, of others they stay."""

from fcclip.files.atomic import atomic_path, remove_scratch, write_text
from tests.scratch import leave_scratch


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed(tmp_path):
    write_text(tmp_path / "below" / "whole.json", "{}")
    scratch = leave_scratch(tmp_path / "below" / "half.json")
    assert scratch.name.startswith(".half-")
    (tmp_path / ".hidden").write_text("mine")
    (tmp_path / ".name-with-1-dashes.png").write_text("mine")
    with atomic_path(tmp_path / "now.json") as alive:
        assert remove_scratch(tmp_path) == [scratch]
        assert alive.exists()
    assert names_in(tmp_path) == [".hidden", ".name-with-1-dashes.png", "below", "now.json"]
    assert names_in(tmp_path / "below") == ["whole.json"]


def test_long_names_have_scratch_files(tmp_path):
    write_text(tmp_path / ("n" * 240 + ".txt"), "text")
    assert [len(name) for name in names_in(tmp_path)] == [244]
