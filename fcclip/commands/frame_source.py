"""The frames of a video that are to be segmented, and where each stands in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcclip.engine.errors import Interruption
from fcclip.files.frame_folder import FrameFolder
from fcclip.files.video import VideoReader

FrameReader = VideoReader | FrameFolder


def open_frames(source: str | int) -> FrameReader:
    """A video file, a folder of frames, or the camera of a number."""
    return FrameFolder(source) if isinstance(source, str) and Path(source).is_dir() else VideoReader(source)


@dataclass(frozen=True)
class Place:
    """Where a frame stands in its video: its number, from 1, its name, and its time in seconds."""

    number: int
    name: str
    time: float


class FrameSource:
    """One of so many frames of a video: the first that can be read. An iteration of it is a pass over the video.

    Args:
        reader: gives the frames of the first pass.
        every: of so many frames one is taken.
        done: so many have their results already; they are read all the same.
        passes: over the video; only in the last one are results given out.
        interruption: ends the reading; before the last pass it ends everything.

    Attributes:
        reader: that of the last pass so far.
        places: of the frames whose results have not come yet.
    """

    def __init__(self, reader: FrameReader, every: int, done: int, passes: int, interruption: Interruption) -> None:
        self.reader = reader
        self.places: deque[Place] = deque()
        self._every, self._done, self._passes, self._interruption = every, done, passes, interruption
        self._pass = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames as (H, W, 3) uint8 RGB.

        Raises:
            KeyboardInterrupt: the user wants the end before there are results.
        """
        self._pass += 1
        if self._pass > 1:
            self.reader.close()
            self.reader = open_frames(self.reader.name)
        reader, is_last, done, group = self.reader, self._pass == self._passes, self._done, -1
        label = "frames" if self._passes == 1 else f"pass {self._pass} of {self._passes}"
        for frame in tqdm(reader, total=reader.frame_count, desc=label, unit="frame", disable=None):
            if self._interruption.came:
                if not is_last:
                    raise KeyboardInterrupt
                tqdm.write("interrupted: what was read is finished; Ctrl-C again ends that too")
                return
            if (reader.number - 1) // self._every == group:
                continue
            group = (reader.number - 1) // self._every
            if is_last and not done:
                self.places.append(_place(reader))
            done -= done > 0
            yield frame

    def close(self) -> None:
        """Close the reader of the last pass."""
        self.reader.close()


def _place(reader: FrameReader) -> Place:
    name = reader.frame_name if isinstance(reader, FrameFolder) else f"{reader.number - 1:08d}"
    return Place(reader.number, name, reader.time)
