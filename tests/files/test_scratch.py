"""Temporary folders: those of processes that were killed are deleted, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcclip.files.scratch import make_scratch, remove_abandoned, scratch_folder


@pytest.mark.skipif(os.name != "posix", reason="only there it can be told who is alive")
def test_what_a_killed_process_left(tmp_path: Path) -> None:
    mine = make_scratch("part", str(tmp_path))
    code = f"from fcclip.files.scratch import make_scratch; print(make_scratch('part', {str(tmp_path)!r}))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "fcclip-of-somebody").mkdir()
    assert Path(found).is_dir()
    remove_abandoned(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fcclip-of-somebody", mine.name]


def test_a_folder_is_there_for_a_block_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder("form") as folder:
        # An earlier process had this one's number, as it may be in a container that was started again.
        earlier = folder.with_name(folder.name + "x")
        earlier.mkdir()
        with scratch_folder("form") as other:
            assert sorted(tmp_path.iterdir()) == sorted([folder, other])
        (folder / "file").write_text("here")
    with pytest.raises(KeyError), scratch_folder("form"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
