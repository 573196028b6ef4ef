"""Read and write videos frame by frame, with OpenCV."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from fcclip.files.atomic import atomic_path

CODECS = ("avc1", "mp4v")  # H.264 where OpenCV was built with an encoder for it, else MPEG-4 part 2
DEFAULT_FPS = 25.0  # for cameras and files that do not say
INDEXED_SUFFIXES = frozenset({".avi", ".m4v", ".mov", ".mp4"})  # containers that store their number of frames


class VideoError(RuntimeError):
    """A video cannot be opened, read or written."""


class VideoReader:
    """The frames of a video file or a camera, in order, as (H, W, 3) uint8 RGB arrays.

    A frame that cannot be decoded is left out and noted in `problems` (one sentence each) when the iteration ends.

    Args:
        source: a video file, or the number of a camera.

    Raises:
        FileNotFoundError: there is no such file.
        VideoError: it cannot be opened as a video, or has no frame that can be read.
    """

    def __init__(self, source: str | Path | int) -> None:
        if not isinstance(source, int) and not Path(source).is_file():
            raise FileNotFoundError(f"video {source} does not exist")
        _silence_ffmpeg()
        self.name = f"camera {source}" if isinstance(source, int) else str(source)
        self.problems: list[str] = []
        self._is_camera = isinstance(source, int)
        self._counts_exactly = not isinstance(source, int) and Path(source).suffix.lower() in INDEXED_SUFFIXES
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            hint = "is it connected?" if self._is_camera else "it is no video, or damaged or truncated"
            raise VideoError(f"{self.name} cannot be opened: {hint}")

    @property
    def fps(self) -> float:
        """Frames a second; 25 where the source does not say."""
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        return fps if 0 < fps < 1000 else DEFAULT_FPS

    @property
    def frame_count(self) -> int | None:
        """Number of frames the file says it has; None for a camera or where it does not say."""
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return count if count > 0 and not self._is_camera else None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames that are left; reading on after a damaged one."""
        expected = self.frame_count
        failed: list[int] = []
        index = 0
        while expected is None or index < expected:
            index += 1
            ok, frame = self._capture.read()
            if ok:
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            elif expected is None:
                break
            else:
                failed.append(index)
        self._note_failures(failed, index, expected)

    def _note_failures(self, failed: list[int], attempts: int, expected: int | None) -> None:
        if expected is None:
            if attempts <= 1:
                raise VideoError(f"{self.name} has no frame that can be read")
            return
        if len(failed) == expected:
            raise VideoError(f"{self.name} has no frame that can be read")
        # Other containers only tell how long they last, to the end of the sound.
        slack = 0 if self._counts_exactly else max(1, round(self.fps / 4))
        if failed and (failed[0] <= expected - len(failed) or len(failed) > slack):
            self.problems.append(f"{self.name}: reading failed at frame {_ranges(failed)} of {expected}")

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


class VideoWriter:
    """Writes frames to an mp4 file; `open_video_writer` makes one."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        width, height = size
        self.size = size
        self.frames_written = 0
        self._margin = (height % 2, width % 2)
        self._writer = _open_first_codec(path, fps, (width + width % 2, height + height % 2))

    def write(self, frame: np.ndarray) -> None:
        """Append one (H, W, 3) uint8 RGB frame, of the size of the video.

        Raises:
            ValueError: the frame has another size.
        """
        height, width = frame.shape[:2]
        if (width, height) != self.size:
            raise ValueError(f"the video is {self.size[0]}x{self.size[1]} pixels, this frame is {width}x{height}")
        bottom, right = self._margin
        padded = cv2.copyMakeBorder(frame, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
        self._writer.write(cv2.cvtColor(padded, cv2.COLOR_RGB2BGR))
        self.frames_written += 1

    def close(self) -> None:
        """Finish the file."""
        self._writer.release()


@contextmanager
def open_video_writer(path: str | Path, fps: float, size: tuple[int, int]) -> Iterator[VideoWriter]:
    """Open an mp4 file for writing; it appears at `path` when the block ends without an error.

    Video has even sides: where `size` is odd, the last row or column is written twice.

    Args:
        path: file name that ends in .mp4.
        fps: frames a second.
        size: (width, height) in pixels.

    Raises:
        ValueError: `path` does not end in .mp4.
        VideoError: OpenCV has no encoder, or what was written cannot be read back (a full disk, say).
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"videos are written as .mp4 files, not {path.suffix or 'without a suffix'}: {path}")
    with atomic_path(path) as scratch:
        writer = VideoWriter(scratch, fps, size)
        try:
            yield writer
        finally:
            writer.close()
        with VideoReader(scratch) as written:
            if written.frame_count != writer.frames_written:
                raise VideoError(f"{path} could not be written in full; is the disk full?")


def _open_first_codec(path: Path, fps: float, size: tuple[int, int]) -> cv2.VideoWriter:
    _silence_ffmpeg()
    for codec in CODECS:
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
        if writer.isOpened():
            return writer
        writer.release()
    raise VideoError(f"this OpenCV can write none of {', '.join(CODECS)}; install opencv-python-headless from pip")


def _silence_ffmpeg() -> None:
    """Keep FFmpeg from printing decoder details; what failed is told in one sentence by this module."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    set_level = cv2.utils.logging.setLogLevel if hasattr(cv2.utils, "logging") else cv2.setLogLevel  # OpenCV 5, or 4
    set_level(0)  # silent


def _ranges(numbers: list[int]) -> str:
    """[3, 4, 5, 9] -> "3-5, 9"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
