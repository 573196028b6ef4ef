"""Write videos frame by frame: H.264 by PyAV where it is installed, else what OpenCV was built with."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcclip.files.atomic import atomic_path, full_disk_told, write_all
from fcclip.files.video import VideoError, VideoReader, silence_ffmpeg

CODECS = ("avc1", "mp4v")  # H.264 where OpenCV was built with an encoder for it, else MPEG-4 part 2
TICKS = 90_000  # per second, to which times of frames are rounded
FRAGMENT = 25  # frames; what a process that is killed loses of a growing video at most
Box = tuple[bytes, bytes]  # of an mp4 file: its kind, and all of it
# No B-frames: they are stored before frames that are shown earlier, and so would reach into the fragment before.
ENCODER = {"crf": "20", "preset": "veryfast", "bf": "0"}
FRAGMENT_OPTIONS = {"movflags": "empty_moov+default_base_moof", "use_editlist": "0"}


class VideoWriter(ABC):
    """Writes frames to an mp4 file; `open_video_writer` makes one.

    Args:
        size: (width, height) in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.frames_written = 0

    def write(self, frame: np.ndarray, time: float | None = None) -> None:
        """Append one (H, W, 3) uint8 RGB frame, of the size of the video.

        Args:
            time: seconds since the beginning, for videos whose frames are not evenly spaced; None for the next of
                evenly spaced ones.

        Raises:
            ValueError: the frame has another size.
        """
        height, width = frame.shape[:2]
        if (width, height) != self.size:
            raise ValueError(f"the video is {self.size[0]}x{self.size[1]} pixels, this frame is {width}x{height}")
        self._append(cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), time)
        self.frames_written += 1

    @abstractmethod
    def _append(self, frame: np.ndarray, time: float | None) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Write what is still held."""


@dataclass(frozen=True)
class VideoMark:
    """A place in a growing video from which it can be gone on with.

    Attributes:
        frames: that are before it.
        fragments: that are before it.
        size: of the file up to it, in bytes.
        tick: of the last frame before it.
        picture: width and height of the frames.
    """

    frames: int = 0
    fragments: int = 0
    size: int = 0
    tick: int | None = None
    picture: tuple[int, int] = (0, 0)


class GrowingVideo(VideoWriter):
    """H.264 in an mp4 file that can be played at any time, and gone on with by another process.

    Every 25 frames are a fragment with an encoder of its own, which is appended to the file. So fragments do not depend
    on those before: a video that was interrupted and gone on with is the same as any other, byte by byte.

    Args:
        path: the file.
        fps: frames a second.
        size: (width, height) in pixels; odd sides are made even.
        mark: go on from here, with its size, and forget what the file has after it.

    Raises:
        VideoError: the file is shorter than the mark says.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int], mark: VideoMark | None = None) -> None:
        mark = mark or VideoMark(picture=size)
        super().__init__((mark.picture[0], mark.picture[1]))
        self.path = path
        self._fps = fps
        self._step = round(TICKS / fps)
        self._last = -self._step if mark.tick is None else mark.tick
        self._fragments, self.frames_written = mark.fragments, mark.frames
        self._fragment: _Fragment | None = None
        self._file = path.open("r+b" if mark.size else "wb", buffering=0)
        if self._file.seek(0, os.SEEK_END) < mark.size:
            self._file.close()
            raise VideoError(f"{path} is shorter than it was when the run was interrupted")
        self._file.truncate(mark.size)
        self._file.seek(mark.size)

    def _append(self, frame: np.ndarray, time: float | None) -> None:
        wanted = self._last + self._step if time is None else round(time * TICKS)
        self._last = max(wanted, self._last + 1)
        if self._fragment is None:
            self._fragment = _Fragment(self._fps, (frame.shape[1], frame.shape[0]), self._last)
        self._fragment.append(frame, self._last)
        if self._fragment.frames == FRAGMENT:
            self.end_fragment()

    def end_fragment(self) -> VideoMark:
        """Put all frames into the file and on the disk; the place after them."""
        if self._fragment is not None:
            boxes = self._fragment.finish()
            content = b"".join(box for _, box in _placed(boxes, self._fragments, self._fragment.start))
            self._fragment = None
            with full_disk_told(self.path):
                self._write(content)
            self._fragments += sum(kind == b"moof" for kind, _ in boxes)
        os.fsync(self._file.fileno())
        return VideoMark(self.frames_written, self._fragments, self._file.tell(), self._last, self.size)

    def _write(self, content: bytes) -> None:
        """All of it or nothing: what is half a fragment is taken off again."""
        before = self._file.tell()
        try:
            write_all(self._file, content)
        except OSError:
            self._file.truncate(before)
            self._file.seek(before)
            raise

    def close(self) -> None:
        if not self._file.closed:
            try:
                self.end_fragment()
            finally:
                self._file.close()


class _Fragment:
    """Frames that are encoded together; a file in memory, of which all but the first fragment's header is used."""

    def __init__(self, fps: float, size: tuple[int, int], start: int) -> None:
        import av  # optional: pip install 'fcclip[video]'

        self._av, self.start, self.frames = av, start, 0
        self._content = io.BytesIO()
        self._file = av.open(self._content, "w", format="mp4", options=FRAGMENT_OPTIONS)
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = self._file.add_stream("libx264", rate=rate, options=ENCODER)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)

    def append(self, frame: np.ndarray, tick: int) -> None:
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = tick - self.start, Fraction(1, TICKS)
        self._file.mux(self._stream.encode(picture))
        self.frames += 1

    def finish(self) -> list[Box]:
        """The boxes of the file."""
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return list(_boxes(self._content.getvalue()))


def _boxes(data: bytes) -> Iterator[Box]:
    """The boxes of an mp4 file, or those inside of a box.

    Source: ISO/IEC 14496-12, section 4.2.
    """
    start = 0
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        yield data[start + 4 : start + 8], data[start : start + length]
        start += length


def _placed(boxes: Sequence[Box], before: int, tick: int) -> Iterator[Box]:
    """The boxes of a file as they follow others: of the frames, which begin at a time, in ticks, and the first header.

    Args:
        boxes: of a file of its own. A picture that looks quite different begins a new fragment in it.
        before: number of fragments that are before it.
        tick: when its frames begin.
    """
    for kind, box in boxes:
        if kind == b"moof":
            before += 1
            yield kind, _with_place(box, before, tick)
        elif kind == b"mdat" or (kind in (b"ftyp", b"moov") and not before):
            yield kind, box


def _with_place(moof: bytes, number: int, tick: int) -> bytes:
    """The head of a fragment with another number, and times that are later by so many ticks."""
    places = {kind: moof.index(box) for kind, box in _boxes(moof[8:])}
    track = moof[places[b"traf"] + 8 :]
    time = places[b"traf"] + 8 + next(track.index(box) for kind, box in _boxes(track) if kind == b"tfdt") + 12
    placed = bytearray(moof)
    placed[places[b"mfhd"] + 12 : places[b"mfhd"] + 16] = number.to_bytes(4, "big")
    placed[time : time + 8] = (int.from_bytes(moof[time : time + 8], "big") + tick).to_bytes(8, "big")
    return bytes(placed)


def finish_video(growing: Path, path: Path) -> None:
    """Make an ordinary mp4 file of a growing one, with its index at the beginning; nothing is encoded again."""
    import av

    options = {"movflags": "+faststart"}
    with av.open(str(growing)) as source, av.open(str(path), "w", format="mp4", options=options) as opened:
        stream: Any = source.streams.video[0]
        target: Any = opened
        # PyAV before 14 has the second way only.
        copy = (
            target.add_stream_from_template(stream)
            if hasattr(target, "add_stream_from_template")
            else target.add_stream(template=stream)
        )
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)


class _OpenCvWriter(VideoWriter):
    """Whatever OpenCV was built with; frames are evenly spaced."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        super().__init__(size)
        width, height = size
        self._writer = _open_first_codec(path, fps, (width + width % 2, height + height % 2))

    def _append(self, frame: np.ndarray, time: float | None) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


def can_write_h264() -> bool:
    """Whether PyAV is installed, and with an encoder for H.264."""
    try:
        import av
    except ImportError:
        return False
    return "libx264" in av.codecs_available


@contextmanager
def open_video_writer(path: str | Path, fps: float, size: tuple[int, int]) -> Iterator[VideoWriter]:
    """Open an mp4 file for writing; it appears at `path` when the block ends without an error.

    It is H.264, which browsers play, where PyAV is installed, else what OpenCV was built with, mostly MPEG-4 part 2.
    Video has even sides: where `size` is odd, the last row or column is written twice.

    Args:
        path: file name that ends in .mp4.
        fps: frames a second.
        size: (width, height) in pixels.

    Raises:
        ValueError: `path` does not end in .mp4.
        VideoError: there is no encoder, or what was written cannot be read back (a full disk, say).
    """
    path = Path(path)
    check_suffix(path)
    with atomic_path(path) as scratch:
        growing = scratch.with_name(f"{scratch.name}.growing") if can_write_h264() else None
        writer = _OpenCvWriter(scratch, fps, size) if growing is None else GrowingVideo(growing, fps, size)
        try:
            yield writer
            writer.close()
            if growing is not None and writer.frames_written:
                finish_video(growing, scratch)
        finally:
            writer.close()
            if growing is not None:
                growing.unlink()
        check_written(scratch, writer.frames_written, path)


def check_suffix(path: Path) -> None:
    """Only mp4 files are written.

    Raises:
        ValueError: `path` does not end in .mp4.
    """
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"videos are written as .mp4 files, not {path.suffix or 'without a suffix'}: {path}")


def check_written(written: Path, frames: int, path: Path) -> None:
    """Read a file that will be `path`.

    Raises:
        VideoError: it has another number of frames.
    """
    with VideoReader(written) as reader:
        if reader.frame_count != frames:
            raise VideoError(f"{path} could not be written in full; is the disk full?")


def _open_first_codec(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    silence_ffmpeg()
    for codec in CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
        writer.release()
    raise VideoError(f"this OpenCV can write none of {', '.join(CODECS)}; install opencv-python-headless from pip")
