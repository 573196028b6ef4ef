"""Segmenting the frames of a video, of a folder of frames or of a camera, and following the objects through them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fcclip.commands.results import FAILURES, Demo
from fcclip.files.frame_folder import FrameFolder
from fcclip.files.video import VideoReader
from fcclip.files.video_writer import VideoWriter, open_video_writer
from fcclip.formats.tracks import TrackFiles, TrackSummary
from fcclip.segmentation import Segmentation
from fcclip.segmenter import OnError

FrameReader = VideoReader | FrameFolder


@dataclass(frozen=True)
class VideoChoices:
    """What can be chosen of a video.

    Attributes:
        tracks: follow objects.
        look_ahead: see `Segmenter.track`.
        every: segment every so-manieth frame only.
        save_tracks: folder for the tracks in VIPSeg's layout, or None.
    """

    tracks: bool = True
    look_ahead: int = 5
    every: int = 1
    save_tracks: Path | None = None


def open_frames(source: str | int) -> FrameReader:
    """A video file, a folder of frames, or the camera of a number."""
    return FrameFolder(source) if isinstance(source, str) and Path(source).is_dir() else VideoReader(source)


def plan_video(reader: FrameReader, output: Path | None) -> Path | None:
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


@dataclass(frozen=True)
class _Place:
    """Where a frame stands in its video: its number, from 1, its name, and its time in seconds."""

    number: int
    name: str
    time: float


@dataclass
class VideoJob:
    """A video, a folder of frames or a camera, and the file its pictures go to, if any."""

    reader: FrameReader
    output: Path | None
    choices: VideoChoices = VideoChoices()
    _read: deque[_Place] = field(default_factory=deque)  # frames whose results have not come yet

    def run(self, demo: Demo) -> None:
        """Segment every frame; what is written before an interruption is kept. Esc in the window ends it."""
        total = self.reader.frame_count
        frames = self._chosen(tqdm(self.reader, total=total, desc="frames", unit="frame"))
        first = next(frames)
        seen: Counter[str] = Counter()
        summary = TrackSummary()
        count = 0
        with ExitStack() as stack:
            writer = self._open_writer(first, stack)
            files = self._open_track_files(demo, stack)
            try:
                for result in self._results(demo, chain([first], frames)):
                    place = self._read.popleft()
                    count += 1
                    if result is None:
                        continue
                    seen.update(result.names())
                    summary.add(result, place.number)
                    demo.report.add(result, file=self.reader.name, frame=place.number)
                    if files is not None:
                        files.add(result, place.name)
                    if not self._show(demo, result, writer, place.time):
                        break
            except KeyboardInterrupt:
                demo.report.skip(f"{self.reader.name}: the run was interrupted after frame {count}")
            except FAILURES as error:  # without the frame nothing after it can be followed
                demo.report.skip(f"{self.reader.name}: stopped after frame {count}: {error}")
        for problem in self.reader.problems:
            demo.report.skip(problem)
        self._tell(count, seen, summary)

    def _results(self, demo: Demo, frames: Iterator[np.ndarray]) -> Iterator[Segmentation | None]:
        if self.choices.tracks and demo.segmenter.can_track:
            return demo.track(frames, self.choices.look_ahead)
        return demo.stream(frames, self._skip(demo))

    def _chosen(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Every so-manieth frame; its place is noted."""
        for number, frame in enumerate(frames, start=1):
            if (number - 1) % self.choices.every == 0:
                name = self.reader.frame_name if isinstance(self.reader, FrameFolder) else f"{number - 1:08d}"
                self._read.append(_Place(number, name, self.reader.time))
                yield frame

    def _tell(self, count: int, seen: Counter[str], summary: TrackSummary) -> None:
        tqdm.write(f"\n{self.reader.name}: {count} frames")
        for line in summary.lines():
            tqdm.write(line)
        for name, frames_with_it in seen.most_common():
            tqdm.write(f"{name}: in {frames_with_it} frames")
        if self.output is not None:
            tqdm.write(f"video: {self.output}")
        if self.choices.save_tracks is not None:
            tqdm.write(f"tracks: {self.choices.save_tracks}")

    def _skip(self, demo: Demo) -> OnError:
        def skip(place: int, error: Exception) -> None:
            demo.report.skip_image(f"{self.reader.name}, frame {place * self.choices.every + 1}", error)

        return skip

    def _open_writer(self, frame: np.ndarray, stack: ExitStack) -> VideoWriter | None:
        if self.output is None:
            return None
        height, width = frame.shape[:2]
        fps = self.reader.fps / self.choices.every
        return stack.enter_context(open_video_writer(self.output, fps, (width, height)))

    def _open_track_files(self, demo: Demo, stack: ExitStack) -> TrackFiles | None:
        folder = self.choices.save_tracks
        if folder is None:
            return None
        vocabulary = demo.segmenter.vocabulary
        assert vocabulary is not None  # it was set before the job was run
        video = Path(self.reader.name).stem.replace(" ", "_")
        return stack.enter_context(TrackFiles(folder, video, vocabulary))

    @staticmethod
    def _show(demo: Demo, result: Segmentation, writer: VideoWriter | None, time: float) -> bool:
        """Write and show a frame; False if the user wants no more."""
        if writer is None and demo.window is None:
            return True
        picture = result.draw()
        if writer is not None:
            writer.write(picture, time)
        return demo.window is None or demo.window.show(picture, wait=False)
