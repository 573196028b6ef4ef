"""Videos survive writing and reading, and lost frames are told."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcclip.files import video_writer
from fcclip.files.video import VideoError, VideoReader
from fcclip.files.video_writer import GrowingVideo, VideoMark, can_write_h264, finish_video, open_video_writer


def frames(count: int, size: tuple[int, int] = (64, 48)) -> list[np.ndarray]:
    """Pictures of one colour each, with noise that makes their compressed size large."""
    noise = np.random.default_rng(0).integers(0, 60, (count, size[1], size[0], 3))
    levels = np.linspace(0, 180, count)[:, None, None, None] * np.array([1.0, 0.5, 0.0])
    return list((levels + noise).astype(np.uint8))


def write_avi(path: Path, pictures: list[np.ndarray]) -> Path:
    """An AVI can be cut short and still be opened, unlike an MP4, whose index stands at its end."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for picture in pictures:
        writer.write(picture[..., ::-1])
    writer.release()
    return path


@pytest.mark.parametrize("with_pyav", [True, False])
@pytest.mark.parametrize("size", [(64, 48), (101, 77)])
def test_written_frames_can_be_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], with_pyav: bool
) -> None:
    if with_pyav and not can_write_h264():
        pytest.skip("PyAV is not installed")
    monkeypatch.setattr(video_writer, "can_write_h264", lambda: with_pyav)
    path = tmp_path / "new" / "clip.mp4"
    pictures = frames(12, size)
    with open_video_writer(path, 12.5, size) as writer:
        for picture in pictures:
            writer.write(picture)
        assert not path.exists(), "the file appears when it is whole"
    with VideoReader(path) as reader:
        assert reader.frame_count == 12
        assert reader.fps == pytest.approx(12.5)
        read = list(reader)
        assert reader.problems == []
    assert len(read) == 12
    for written, back in zip(pictures, read, strict=True):
        height, width = written.shape[:2]
        assert back.shape == (height + height % 2, width + width % 2, 3), "odd sides are padded, not cut"
        assert np.allclose(back.mean(axis=(0, 1)), written.mean(axis=(0, 1)), atol=12), "colours in RGB order"
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


def test_no_file_is_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64x48"), open_video_writer(tmp_path / "clip.mp4", 10, (64, 48)) as writer:
        writer.write(np.zeros((10, 10, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_only_mp4_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"as \.mp4"), open_video_writer(tmp_path / "clip.avi", 10, (64, 48)):
        pass


def test_an_opencv_without_codecs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_writer, "CODECS", ("ZZZZ",))
    with pytest.raises(VideoError, match="this OpenCV can write none of ZZZZ; install opencv-python-headless"):
        video_writer._open_first_codec(tmp_path / "clip.mp4", 10, (64, 48))


def test_cut_video_gives_its_frames_and_tells_which_are_lost(tmp_path: Path) -> None:
    path = write_avi(tmp_path / "whole.avi", frames(20))
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with VideoReader(cut) as reader:
        read = list(reader)
        assert 5 < len(read) < 15
        assert reader.problems == [f"{cut}: reading failed at frame {len(read) + 1}-20 of 20"]
    with VideoReader(path) as reader:
        assert len(list(reader)) == 20
        assert reader.problems == []


def test_frames_after_a_broken_one_have_their_own_numbers_and_times(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    pictures = frames(12)
    for picture in pictures:
        writer.write(picture[..., ::-1])
    writer.release()
    av = pytest.importorskip("av")
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.dts is not None]
        spans = [slice(packet.pos, packet.pos + packet.size) for packet in packets]
    data = bytearray(path.read_bytes())
    data[spans[4]] = bytes(len(data[spans[4]]))  # the fifth frame
    path.write_bytes(data)
    with VideoReader(path) as reader:
        places = [(reader.number, round(reader.time, 3)) for _ in reader]
        assert reader.problems == [f"{path}: reading failed at frame 5 of 12"]
    assert places == [(number, (number - 1) / 10) for number in range(1, 13) if number != 5]


@pytest.mark.parametrize("claimed", [2_000_000_000, 0x7FFFFFFF])
def test_reading_ends_where_the_frames_do_whatever_the_header_claims(tmp_path: Path, claimed: int) -> None:
    path = write_avi(tmp_path / "a.avi", frames(12))
    data = bytearray(path.read_bytes())
    for chunk, place in ((b"strh", 40), (b"avih", 24)):  # both say how many frames there are
        start = data.index(chunk) + place
        data[start : start + 4] = claimed.to_bytes(4, "little")
    path.write_bytes(data)
    with VideoReader(path, max_failures=5) as reader:
        assert len(list(reader)) == 12
        assert reader.problems == [f"{path}: reading failed at frame 13-{claimed} of {claimed}"]


def test_frames_have_a_limit_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_avi(tmp_path / "a.avi", frames(2, (64, 48)))
    monkeypatch.setenv("FCCLIP_MAX_PIXELS", "3000")
    with pytest.raises(VideoError, match="a frame has 64x48 pixels, more than the 3,000"):
        VideoReader(path)


def test_what_is_no_regular_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match="is a folder; give the video itself"):
        VideoReader(tmp_path / "folder.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="is not a regular file"):
        VideoReader(tmp_path / "pipe.mp4")
    name = os.fsdecode(bytes(tmp_path) + b"/\xff.avi")
    write_avi(tmp_path / "a.avi", frames(2)).rename(name)
    with pytest.raises(VideoError, match="is not UTF-8; give the file another name"):
        VideoReader(name)


def test_cut_mp4_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_writer, "can_write_h264", lambda: False)  # OpenCV puts the index at the end
    path = tmp_path / "clip.mp4"
    with open_video_writer(path, 10, (64, 48)) as writer:
        for picture in frames(10):
            writer.write(picture)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"clip\.mp4 cannot be opened.*truncated"):
        VideoReader(path)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        VideoReader(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(VideoError, match="cannot be opened"):
        VideoReader(tmp_path / "text.mp4")
    with pytest.raises(VideoError, match="camera 99 cannot be opened"):
        VideoReader(99)


def test_browsers_play_what_is_written(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with open_video_writer(tmp_path / "clip.mp4", 10, (64, 48)) as writer:
        for picture in frames(3):
            writer.write(picture)
    with av.open(str(tmp_path / "clip.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    content = (tmp_path / "clip.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "a browser can start before it has the whole file"


def test_frames_that_are_not_evenly_spaced_keep_their_times(tmp_path: Path) -> None:
    pytest.importorskip("av")
    times = [0.0, 0.04, 0.5, 0.52, 1.0]
    with open_video_writer(tmp_path / "clip.mp4", 25, (64, 48)) as writer:
        for picture, time in zip(frames(5), times, strict=True):
            writer.write(picture, time)
    with VideoReader(tmp_path / "clip.mp4") as reader:
        read = [reader.time for _ in reader]
    assert read == pytest.approx(times, abs=0.002)


def test_a_growing_video_goes_on_byte_by_byte(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pictures = [*frames(40), *[255 - picture for picture in frames(20)]]  # with a cut inside of a fragment
    times = [number / 10 + (number > 30) for number in range(60)]

    def write(path: Path, start: int, mark: VideoMark | None) -> VideoMark:
        writer = GrowingVideo(path, 10, (64, 48), mark)
        for number in range(start, 60):
            writer.write(pictures[number], times[number])
            if number == 31:
                mark = writer.end_fragment()
        writer.close()
        assert mark is not None
        return mark

    mark = write(tmp_path / "a.mp4", 0, None)
    assert mark.frames == 32
    whole = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(whole[: mark.size + 1000])  # killed while it wrote the next fragment
    write(tmp_path / "a.mp4", 32, mark)
    assert (tmp_path / "a.mp4").read_bytes() == whole
    finish_video(tmp_path / "a.mp4", tmp_path / "b.mp4")
    for name in ("a.mp4", "b.mp4"):
        with VideoReader(tmp_path / name) as reader:
            assert [reader.time for _ in reader] == pytest.approx(times, abs=0.002)
    (tmp_path / "a.mp4").write_bytes(whole[:1000])
    with pytest.raises(VideoError, match="shorter than it was"):
        GrowingVideo(tmp_path / "a.mp4", 10, (64, 48), mark)


def test_a_picture_that_is_to_be_turned_is_turned(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32] = 255
    with open_video_writer(path, 10, (64, 48)) as writer:
        for _ in range(3):
            writer.write(picture)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # of the header of the track, version 0
    turned = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30], ">i4")  # 90 degrees clockwise
    content[matrix : matrix + 36] = turned.tobytes()
    path.write_bytes(content)
    with VideoReader(path) as reader:
        first = next(iter(reader))
    assert first.shape == (64, 48, 3)
    assert first[:30].mean() > 200
    assert first[34:].mean() < 50
