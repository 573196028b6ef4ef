"""Segmenting the frames of a video or of a camera."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcclip.commands.results import Demo
from fcclip.files.video import VideoReader, VideoWriter, open_video_writer
from fcclip.segmentation import Segmentation
from fcclip.segmenter import OnError


def plan_video(reader: VideoReader, output: Path | None) -> Path | None:
    """Where the video is written: `output` itself if it ends in .mp4, else a file in that folder."""
    if output is None:
        return None
    source = Path(reader.name)
    target = output / f"{source.stem}.mp4" if output.is_dir() or not output.suffix else output
    if target.suffix.lower() != ".mp4":
        raise ValueError(f"videos are written as .mp4, so --output cannot be {output}")
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} would be written over the input; give another --output")
    return target


@dataclass
class VideoJob:
    """A video or camera, and the file its pictures go to, if any."""

    reader: VideoReader
    output: Path | None

    def run(self, demo: Demo) -> None:
        """Segment every frame; what is written before an interruption is kept. Esc in the window ends it."""
        frames = iter(tqdm(self.reader, total=self.reader.frame_count, desc="frames", unit="frame"))
        first = next(frames)
        seen: Counter[str] = Counter()
        count = 0
        with ExitStack() as stack:
            writer = self._open_writer(first, stack)
            try:
                for count, result in enumerate(demo.stream(chain([first], frames), self._skip(demo)), start=1):
                    if result is None:
                        continue
                    seen.update(result.names())
                    demo.report.add(result, file=self.reader.name, frame=count)
                    if not self._show(demo, result, writer):
                        break
            except KeyboardInterrupt:
                demo.report.skip(f"{self.reader.name}: the run was interrupted after frame {count}")
        for problem in self.reader.problems:
            demo.report.skip(problem)
        tqdm.write(f"\n{self.reader.name}: {count} frames")
        for name, frames_with_it in seen.most_common():
            tqdm.write(f"{name}: in {frames_with_it} frames")
        if self.output is not None:
            tqdm.write(f"video: {self.output}")

    def _skip(self, demo: Demo) -> OnError:
        def skip(place: int, error: Exception) -> None:
            demo.report.skip_image(f"{self.reader.name}, frame {place + 1}", error)

        return skip

    def _open_writer(self, frame: np.ndarray, stack: ExitStack) -> VideoWriter | None:
        if self.output is None:
            return None
        height, width = frame.shape[:2]
        return stack.enter_context(open_video_writer(self.output, self.reader.fps, (width, height)))

    @staticmethod
    def _show(demo: Demo, result: Segmentation, writer: VideoWriter | None) -> bool:
        """Write and show a frame; False if the user wants no more."""
        if writer is None and demo.window is None:
            return True
        picture = result.draw()
        if writer is not None:
            writer.write(picture)
        return demo.window is None or demo.window.show(picture, wait=False)
