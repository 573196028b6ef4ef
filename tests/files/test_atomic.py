"""Files appear whole or not at all, and where none can be written is told before the work."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fcclip.files.atomic import OutputError, atomic_folder, atomic_path, remove_scratch, write_json, write_text
from tests.scratch import leave_scratch


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, [1])
    assert path.read_text() == "[1]\n"
    with pytest.raises(ZeroDivisionError), atomic_path(path) as scratch:
        scratch.write_text(f"half {1 / 0}")
    assert scratch.suffix == ".json"
    assert path.read_text() == "[1]\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    with atomic_folder(path) as scratch:
        (scratch / "a").write_text("1")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["a"]
    with pytest.raises(OutputError, match="is there already"), atomic_folder(path):
        pass
    other = tmp_path / "other"
    with pytest.raises(ZeroDivisionError), atomic_folder(other) as scratch:
        (scratch / "a").write_text(f"half {1 / 0}")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new"]


@pytest.mark.parametrize("name", ["file/a.json", "file/sub/a.json", "folder", "nul\0.json", "n" * 300 + "/a.json"])
def test_places_that_cannot_be_written_are_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"cannot be written: |is a folder; name a file in it") as error:
        write_json(tmp_path / name, 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("make", [atomic_path, atomic_folder])
def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make) -> None:
    sentence = r"a\.json cannot be written: the disk is full; make room, or choose a place on another disk"
    with pytest.raises(OutputError, match=sentence), make(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="encoder error"), make(tmp_path / "a.json"):
        raise OSError("encoder error -2 when writing image file")  # Pillow's, of any cause
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 0}))
    with pytest.raises(OutputError, match=sentence), make(tmp_path / "a.json"):
        raise OSError("encoder error -2 when writing image file")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    with pytest.raises(OSError, match="other") as error, atomic_path(tmp_path / "a.json"):
        raise OSError(errno.EIO, "other")
    assert not isinstance(error.value, OutputError)


@pytest.mark.skipif(os.name != "posix", reason="scratch files are swept where processes can be asked for safely")
def test_the_scratch_file_of_a_killed_run_is_swept_by_the_next(tmp_path: Path) -> None:
    hang = (
        "import sys, time; from fcclip.files.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as scratch: print('writing', flush=True); time.sleep(60)"
    )
    running, killed = (
        subprocess.Popen([sys.executable, "-c", hang, str(tmp_path / name)], stdout=subprocess.PIPE)
        for name in ("running.png", "killed.png")
    )
    for process in (running, killed):
        assert process.stdout is not None
        process.stdout.readline()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    try:
        write_json(tmp_path / "a.json", 1)
        names = sorted(path.name.partition("-")[0] for path in tmp_path.iterdir())
    finally:
        running.kill()
        running.wait()
    assert names == [".running", "a.json"]


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


def test_a_folder_that_a_killed_process_left_is_swept_by_the_next(tmp_path):
    leave_scratch(tmp_path / "exported", "atomic_folder")
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == [".exported"]
    with atomic_folder(tmp_path / "exported") as scratch:
        (scratch / "a").write_text("whole")
    assert names_in(tmp_path) == ["exported"]


def test_a_process_with_the_number_of_a_killed_one_knows_its_own_files(tmp_path):
    """As in a container that is started again, where the number is always 1."""
    with atomic_path(tmp_path / "a.json") as scratch:
        (tmp_path / f"{scratch.name}.growing").write_text("mine, of a writer that adds a suffix")
        earlier = tmp_path / scratch.name.replace(".a-", ".b-")
        earlier.write_text("half")
        assert remove_scratch(tmp_path) == [earlier]
        assert len(names_in(tmp_path)) == 2


def test_long_names_have_scratch_files(tmp_path):
    write_text(tmp_path / ("n" * 240 + ".txt"), "text")
    assert [len(name) for name in names_in(tmp_path)] == [244]
