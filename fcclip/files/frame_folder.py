"""A folder of frames, read as if it were a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fcclip.files.images import IMAGE_SUFFIXES, UnreadableImageError, read_image
from fcclip.files.video import DEFAULT_FPS, VideoError, stamp_of


class FrameFolder:
    """The images of a folder in the order of their names, with the interface of `VideoReader`.

    Args:
        folder: has images and nothing else that matters.
        fps: frames a second that they stand for.

    Attributes:
        number: of the frame that was read last, from 1; those that cannot be read count.
        time: seconds from the beginning to that frame.
        frame_name: stem of its file.
        problems: one sentence for each frame that cannot be read; it is left out.

    Raises:
        FileNotFoundError: there is no such folder.
        VideoError: it has no image.
    """

    def __init__(self, folder: str | Path, fps: float = DEFAULT_FPS) -> None:
        folder = Path(folder)
        if not folder.is_dir():
            raise FileNotFoundError(f"folder of frames {folder} does not exist")
        self._files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
        if not self._files:
            raise VideoError(f"{folder} has no frames; they are images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self.name = str(folder)
        self.fps = fps
        self.number, self.time = 0, 0.0
        self.frame_name = ""
        self.problems: list[str] = []

    @property
    def stamp(self) -> str:
        """Changes when a frame does, or their number."""
        return "\n".join(f"{path.name} {stamp_of(path)}" for path in self._files)

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self._files)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames as (H, W, 3) uint8 RGB."""
        failures = 0
        for place, path in enumerate(self._files):
            self.number, self.time, self.frame_name = place + 1, place / self.fps, path.stem
            try:
                frame = read_image(path)
            except (OSError, UnreadableImageError) as error:
                self.problems.append(str(error))
                failures += 1
                continue
            yield frame
        if failures == len(self._files):
            raise VideoError(f"{self.name} has no frame that can be read")

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> FrameFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
