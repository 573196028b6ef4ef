"""Read videos frame by frame; `fcclip.files.video_writer` writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from fcclip.files.images import ImageTooLargeError, check_size
from fcclip.files.paths import require_file

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
        stamp: changes when the file does.
        number: of the frame that was read last, from 1; those that cannot be decoded count.
        time: seconds from the beginning to that frame.

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
        silence_ffmpeg()
        self.name = f"camera {source}" if isinstance(source, int) else str(source)
        self.stamp = "" if isinstance(source, int) else stamp_of(Path(source))
        self.problems: list[str] = []
        self._max_failures = max_failures
        self.number, self.time = 0, 0.0
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
                self._keep_place(index)
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            elif expected is None:
                break
            else:
                failed.add(index)
                if failed.last_length >= self._max_failures:
                    failed.add_to(expected)
                    break
        self._note_failures(failed, index, expected)

    def _keep_place(self, number: int) -> None:
        """Note where the frame just read stands; without a time of its own it is so many steps after the last one."""
        stated = 0.0 if self._is_camera else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        steps = number - max(self.number, 1)
        self.time = stated if stated > self.time else self.time + steps / self.fps
        self.number = number

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

    def __exit__(self, *exception: object) -> None:
        self.close()


def stamp_of(path: Path) -> str:
    """Size of a file, and when it was last changed."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def silence_ffmpeg() -> None:
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
