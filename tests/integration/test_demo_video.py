"""The demo on videos and the camera."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fcclip.files.video import VideoReader
from tests.integration.demo import PHOTOGRAPH, RunDemo, write_video


def test_video_is_written_and_can_be_played(
    run_demo: RunDemo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "clip.mp4")
    assert run_demo("--video-input", video, "--output", tmp_path / "out", "--json", tmp_path / "found.json") == 0
    with VideoReader(tmp_path / "out" / "clip.mp4") as reader:
        frames = list(reader)
        assert reader.fps == pytest.approx(10)
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 6
    results = json.loads((tmp_path / "found.json").read_text())["results"]
    assert [result["frame"] for result in results] == [1, 2, 3, 4, 5, 6]
    assert "6 frames" in capsys.readouterr().out


def test_frames_in_batches_keep_their_order(run_demo: RunDemo, tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    video = write_video(tmp_path / "clip.mp4", count=3)
    assert run_demo("--video-input", video, "--json", path, "--batch-size", 2) == 0
    assert [result["frame"] for result in json.loads(path.read_text())["results"]] == [1, 2, 3]


class FakeCamera:
    """A camera of 30 pictures a second that is unplugged after the third; files are opened as ever."""

    def __init__(self, works: bool) -> None:
        self.works = works
        self.frames_left = 3
        self.open_file = cv2.VideoCapture

    def __call__(self, source: int | str) -> Any:
        return self if source == 0 else self.open_file(source)

    def isOpened(self) -> bool:
        return self.works

    def get(self, key: int) -> float:
        return 30.0 if key == cv2.CAP_PROP_FPS else -1.0

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.frames_left -= 1
        return (True, np.full((48, 64, 3), 90, np.uint8)) if self.frames_left >= 0 else (False, None)

    def release(self) -> None:
        self.works = False


def test_camera(
    run_demo: RunDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera(works=True))
    assert run_demo("--webcam", "--output", tmp_path / "out.mp4") == 0
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == 3
        assert reader.fps == pytest.approx(30)
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera(works=False))
    assert run_demo("--webcam", "--output", tmp_path / "none.mp4") == 2
    assert "camera 0 cannot be opened" in capsys.readouterr().err


def test_lost_frames_are_named_and_the_rest_is_written(
    run_demo: RunDemo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 48, 64, 3)).astype(np.uint8)
    path = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for frame in noise:
        writer.write(frame)
    writer.release()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run_demo("--video-input", cut, "--output", tmp_path / "out.mp4") == 1
    with VideoReader(tmp_path / "out.mp4") as reader:
        count = len(list(reader))
    assert 2 <= count <= 6
    assert f"reading failed at frame {count + 1}-8 of 8" in capsys.readouterr().err


def test_broken_video(run_demo: RunDemo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = write_video(tmp_path / "clip.mp4")
    video.write_bytes(video.read_bytes()[:500])
    assert run_demo("--video-input", video, "--output", tmp_path / "out.mp4") == 1
    assert "clip.mp4 cannot be opened" in capsys.readouterr().err
    assert not (tmp_path / "out.mp4").exists()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A folder of four frames of the photograph, as it wanders."""
    folder = tmp_path / "frames"
    folder.mkdir()
    photograph = np.asarray(Image.open(PHOTOGRAPH).convert("RGB").resize((120, 140)))
    for number in range(4):
        Image.fromarray(photograph[: 96 + 2 * number][-96:, :96]).save(folder / f"{number:03}.png")
    return folder


def test_objects_of_a_video_are_followed_and_saved(run_demo: RunDemo, clip: Path, tmp_path: Path, capsys):
    arguments = ("--video-input", clip, "--output", tmp_path / "out.mp4", "--save-tracks", tmp_path / "tracks")
    assert run_demo(*arguments, "--json", tmp_path / "found.json") == 0
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == 4
    found = json.loads((tmp_path / "found.json").read_text())["results"]
    assert [result["frame"] for result in found] == [1, 2, 3, 4]
    assert all(segment["track"] > 0 for result in found for segment in result["segments"])
    assert sorted(path.name for path in (tmp_path / "tracks/pan_pred/frames").iterdir()) == [
        "000.png", "001.png", "002.png", "003.png"
    ]  # fmt: skip
    assert (tmp_path / "tracks/pred.json").is_file()
    assert f"{clip}: 4 frames" in capsys.readouterr().out


def test_every_second_frame_without_tracks(run_demo: RunDemo, clip: Path, tmp_path: Path):
    assert run_demo("--video-input", clip, "--json", tmp_path / "found.json", "--every", 2, "--no-tracks") == 0
    found = json.loads((tmp_path / "found.json").read_text())["results"]
    assert [result["frame"] for result in found] == [1, 3]
    assert "track" not in found[0]["segments"][0]


def test_tracks_that_cannot_be_saved_are_explained(run_demo: RunDemo, clip: Path, tmp_path: Path, capsys):
    assert run_demo("--video-input", clip, "--save-tracks", tmp_path / "tracks", "--no-tracks") == 2
    assert "leave out --no-tracks" in capsys.readouterr().err
