"""Videos that are interrupted can be played, and gone on with: the results are those of an undisturbed run."""

import io
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from fcclip.commands import frame_results, video
from fcclip.data.panoshapes.clip import render_clip
from fcclip.files.video import VideoReader
from fcclip.files.video_writer import FRAGMENT, open_video_writer
from tests.tiny import REPOSITORY

pytest.importorskip("av")

FRAMES = 2 * FRAGMENT + 6
NAMES = "red star; blue circle; yellow ring; green square; grass=stuff; sky=stuff; water=stuff; sand=stuff"
KILL = """
import os, signal, sys
from fcclip.commands import frame_results, video

add, number = frame_results.FrameResults.add, int(sys.argv.pop(1))

def add_until(self, place, result):
    if place.number == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(self, place, result)

frame_results.FrameResults.add = add_until
video.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with a cut."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with open_video_writer(path, 10, (64, 64)) as writer:
        for scene in render_clip(np.random.default_rng([2001, 0]), 64, 64, frames=FRAMES, cuts=(40,)):
            writer.write(scene.image)
    return path


def words(clip: Path, folder: Path, names: str = NAMES, resume: bool = False) -> list[str]:
    files = ["--output", f"{folder}/out.mp4", "--json", f"{folder}/out.json", "--save-tracks", f"{folder}/tracks"]
    model = ["--model", "panoshapes", "--device", "cpu", "--vocabulary", names]
    opts = ["--opts", "INPUT.MIN_SIZE_TEST", "64", "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False"]
    return [str(clip), *files, *model, *["--resume"] * resume, *opts]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return list(reader)


@pytest.fixture(scope="module")
def undisturbed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The results of a run, and what it told."""
    folder = tmp_path_factory.mktemp("whole")
    output = io.StringIO()
    with redirect_stdout(output):
        assert video.main(words(clip, folder)) == 0
    return folder, summary_of(output.getvalue())


def summary_of(output: str) -> list[str]:
    """What is told in the end, without the names of folders."""
    return [line for line in output.splitlines() if "frame" in line and "/" not in line and "already" not in line]


def test_a_killed_run_can_be_played_and_gone_on_with(clip: Path, undisturbed, tmp_path: Path, capsys):
    whole, summary = undisturbed
    number = random.randint(FRAGMENT + 2, FRAMES)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", KILL, str(number), *words(clip, tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "out.mp4").exists()
    expected = read(whole / "out.mp4")
    playable = read(tmp_path / "out.mp4.partial" / "video.mp4")
    assert len(playable) == (number - 1) // FRAGMENT * FRAGMENT, f"killed at frame {number}"
    assert all(np.array_equal(*pair) for pair in zip(playable, expected, strict=False))

    assert video.main(words(clip, tmp_path, "cat; dog", resume=True)) == 2
    assert "was begun with another vocabulary; give the same as then, or leave out --resume" in capsys.readouterr().err
    assert video.main(words(clip, tmp_path, resume=True)) == 0
    output = capsys.readouterr().out
    assert f"{len(playable)} frames are done already" in output
    assert contents(tmp_path) == contents(whole), f"killed at frame {number}"
    assert summary_of(output) == summary


def test_an_interrupted_run_gives_out_the_frames_it_has_read(
    clip: Path, undisturbed, tmp_path: Path, monkeypatch, capsys
):
    add, number = frame_results.FrameResults.add, 2 * FRAGMENT - 2
    stopped = number + 5  # so many were looked ahead; those could not look ahead, so that a repeated run has others

    def interrupt(self, place, result):
        if place.number == number:
            os.kill(os.getpid(), signal.SIGINT)
        return add(self, place, result)

    monkeypatch.setattr(frame_results.FrameResults, "add", interrupt)
    assert video.main(words(clip, tmp_path)) == 1
    monkeypatch.undo()
    told = f"stopped after frame {stopped}: the run was interrupted; the same command with --resume"
    assert told in capsys.readouterr().err
    assert len(read(tmp_path / "out.mp4")) == stopped
    assert len(json.loads((tmp_path / "out.json").read_text())["results"]) == stopped
    assert video.main(words(clip, tmp_path, resume=True)) == 0
    assert f"{FRAGMENT} frames are done already" in capsys.readouterr().out
    assert contents(tmp_path) == contents(undisturbed[0])


def test_what_cannot_be_gone_on_with_is_explained(clip: Path, tmp_path: Path, capsys, monkeypatch):
    names = ["--vocabulary", NAMES, "--model", "panoshapes", "--resume"]
    assert video.main([str(clip), *names]) == 2
    assert "name them with --output, --json or --save-tracks" in capsys.readouterr().err
    monkeypatch.setattr("fcclip.commands.frames.can_write_h264", lambda: False)
    assert video.main([str(clip), *names, "--output", str(tmp_path / "out.mp4")]) == 2
    assert "needs PyAV" in capsys.readouterr().err
    partial = tmp_path / "out.json.partial"
    partial.mkdir()
    (partial / "progress.json").write_text('{"settings": {}, "frames": 3}')
    assert video.main([str(clip), *names, "--json", str(tmp_path / "out.json")]) == 2
    assert f"{partial} is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_a_whole_video_and_going_on_with_it(clip: Path, tmp_path: Path, monkeypatch, capsys):
    add, whole = frame_results.FrameResults.add, ["--whole", "--every", "2"]

    def interrupt(self, place, result):
        if place.number == 1 + 2 * (FRAGMENT + 1):
            os.kill(os.getpid(), signal.SIGINT)
        return add(self, place, result)

    folders = [tmp_path / name for name in ("one", "two")]
    commands = [words(clip, folder) for folder in folders]
    for command in commands:
        command[1:1] = whole
    assert video.main(commands[0]) == 0
    found = json.loads((folders[0] / "out.json").read_text())["results"]
    assert [result["frame"] for result in found] == list(range(1, FRAMES, 2))
    monkeypatch.setattr(frame_results.FrameResults, "add", interrupt)
    assert video.main(commands[1]) == 1
    monkeypatch.undo()
    assert video.main([commands[1][0], "--resume", *commands[1][1:]]) == 0
    assert contents(folders[1]) == contents(folders[0])
    assert video.main([str(clip), "--whole", "--look-ahead", "2", "--json", f"{tmp_path}/found.json"]) == 2
    assert "leave out --webcam, --no-tracks, --look-ahead" in capsys.readouterr().err
