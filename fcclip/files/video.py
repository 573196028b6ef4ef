"""Read and write videos frame by frame: OpenCV reads, PyAV writes where it is installed."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from fcclip.files.atomic import atomic_path
from fcclip.files.images import ImageTooLargeError, check_size
from fcclip.files.paths import require_file

CODECS = ("avc1", "mp4v")  # H.264 where OpenCV was built with an encoder for it, else MPEG-4 part 2
TICKS = 90_000  # per second, to which times of frames are rounded
DEFAULT_FPS = 25.0  # for cameras and files that do not say
MAX_FAILURES = 1000  # frames in a row that cannot be read: no more are tried
INDEXED_SUFFIXES = frozenset({".avi", ".m4v", ".mov", ".mp4"})  # containers that store their number of frames


class VideoError(RuntimeError):
    """A video cannot be opened, read or written."""


class VideoReader:
    """The frames of a video file or a camera, in order, as (H, W, 3) uint8 RGB arrays.

    Pictures are turned as the file says. A frame that cannot be decoded is left out and noted in `problems` (one
    sentence each) when the iteration ends.

    Attributes:
        time: seconds from the beginning to the frame that was read last.

    Args:
        source: a video file, or the number of a camera.
        max_failures: reading ends after so many frames in a row that cannot be decoded, however many more the file
            says that it has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder or not a regular file.
        VideoError: it cannot be opened as a video, has no frame that can be read, or frames of more pixels than
            `fcclip.files.images.max_pixels`.
    """

    def __init__(self, source: str | Path | int, max_failures: int = MAX_FAILURES) -> None:
        if not isinstance(source, int):
            _check_name(require_file(source, "video"))
        _silence_ffmpeg()
        self.name = f"camera {source}" if isinstance(source, int) else str(source)
        self.problems: list[str] = []
        self._max_failures = max_failures
        self.time = 0.0
        self._is_camera = isinstance(source, int)
        self._counts_exactly = not isinstance(source, int) and Path(source).suffix.lower() in INDEXED_SUFFIXES
        self._capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if not self._capture.isOpened():
            hint = "is it connected?" if self._is_camera else "it is no video, or damaged or truncated"
            raise VideoError(f"{self.name} cannot be opened: {hint}")
        self._check_size()

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
        failed = _Spans()
        index = 0
        while expected is None or index < expected:
            index += 1
            ok, frame = self._capture.read()
            if ok:
                self._keep_time(is_first=index == 1)
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            elif expected is None:
                break
            else:
                failed.add(index)
                if failed.last_length >= self._max_failures:
                    failed.add_to(expected)
                    break
        self._note_failures(failed, index, expected)

    def _keep_time(self, is_first: bool) -> None:
        """Note the time of the frame just read; where the source does not say, one step after the last frame."""
        stated = 0.0 if self._is_camera else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if stated > self.time:
            self.time = stated
        elif not is_first:
            self.time += 1 / self.fps

    def _check_size(self) -> None:
        width, height = (self._capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        try:
            check_size(int(height), int(width), f"{self.name}: a frame")
        except ImageTooLargeError as error:
            self.close()
            raise VideoError(str(error)) from None

    def _note_failures(self, failed: _Spans, attempts: int, expected: int | None) -> None:
        if expected is None:
            if attempts <= 1:
                raise VideoError(f"{self.name} has no frame that can be read")
            return
        if failed.count == expected:
            raise VideoError(f"{self.name} has no frame that can be read")
        # Other containers only tell how long they last, to the end of the sound.
        slack = 0 if self._counts_exactly else max(1, round(self.fps / 4))
        if failed.count and (failed.first <= expected - failed.count or failed.count > slack):
            self.problems.append(f"{self.name}: reading failed at frame {failed} of {expected}")

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


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
        """Finish the file."""


class _H264Writer(VideoWriter):
    """H.264, which browsers play, by PyAV; each frame at its own time."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        super().__init__(size)
        import av  # optional: pip install 'fcclip[video]'

        self._av = av
        self._step = round(TICKS / fps)
        self._last = -self._step
        self._file = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._file.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast"})
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)

    def _append(self, frame: np.ndarray, time: float | None) -> None:
        picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        wanted = self._last + self._step if time is None else round(time * TICKS)
        self._last = picture.pts = max(wanted, self._last + 1)
        picture.time_base = Fraction(1, TICKS)
        self._file.mux(self._stream.encode(picture))

    def close(self) -> None:
        if self.frames_written:
            self._file.mux(self._stream.encode(None))
        self._file.close()


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
    if path.suffix.lower() != ".mp4":
        raise ValueError(f"videos are written as .mp4 files, not {path.suffix or 'without a suffix'}: {path}")
    with atomic_path(path) as scratch:
        writer = (_H264Writer if can_write_h264() else _OpenCvWriter)(scratch, fps, size)
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
    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 has it there, OpenCV 4 here
    logging.setLogLevel(0)  # silent


def _check_name(path: Path) -> None:
    """OpenCV ends the process when it is given a name that is not text."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise VideoError(f"the name of video {str(path)!r} is not UTF-8; give the file another name") from None


class _Spans:
    """Ascending numbers, kept as spans: 3, 4, 5, 9 are "3-5, 9"."""

    def __init__(self) -> None:
        self._spans: list[list[int]] = []

    def add(self, number: int) -> None:
        """Append a number."""
        if self._spans and number == self._spans[-1][1] + 1:
            self._spans[-1][1] = number
        else:
            self._spans.append([number, number])

    def add_to(self, number: int) -> None:
        """Append every number after the last one, up to `number`."""
        self._spans[-1][1] = number

    @property
    def first(self) -> int:
        return self._spans[0][0]

    @property
    def last_length(self) -> int:
        """How many numbers the last span has."""
        return self._spans[-1][1] - self._spans[-1][0] + 1

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return sum(last - first + 1 for first, last in self._spans)

    def __str__(self) -> str:
        return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in self._spans)
