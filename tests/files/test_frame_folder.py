from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.files.frame_folder import FrameFolder
from fcclip.files.video import VideoError


def write(folder: Path, count: int) -> Path:
    for number in reversed(range(count)):
        Image.fromarray(np.full((4, 6, 3), 10 * number, np.uint8)).save(folder / f"f{number:02}.png")
    return folder


def test_frames_come_by_name_with_their_times(tmp_path):
    (write(tmp_path, 3) / "notes.txt").write_text("no frame")
    with FrameFolder(tmp_path, fps=4) as reader:
        assert reader.frame_count == 3
        seen = [(int(frame[0, 0, 0]), reader.frame_name, reader.time) for frame in reader]
    assert seen == [(0, "f00", 0.0), (10, "f01", 0.25), (20, "f02", 0.5)]


def test_a_broken_frame_is_left_out_and_told(tmp_path):
    (write(tmp_path, 3) / "f01.png").write_bytes(b"broken")
    reader = FrameFolder(tmp_path)
    assert [(int(frame[0, 0, 0]), reader.number, reader.frame_name) for frame in reader] == [
        (0, 1, "f00"), (20, 3, "f02")
    ]  # fmt: skip
    assert len(reader.problems) == 1
    assert "f01.png" in reader.problems[0]


def test_no_frames(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        FrameFolder(tmp_path / "none")
    with pytest.raises(VideoError, match="has no frames"):
        FrameFolder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(VideoError, match="no frame that can be read"):
        list(FrameFolder(tmp_path))
