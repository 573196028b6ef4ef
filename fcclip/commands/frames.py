"""Segmenting the frames of a video, of a folder of frames or of a camera, and following the objects through them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from fcclip.commands.frame_results import FrameResults
from fcclip.commands.frame_source import FrameReader, FrameSource
from fcclip.commands.partial import PartialRun
from fcclip.commands.results import FAILURES, Demo
from fcclip.engine.errors import Interruption, interruption_noted
from fcclip.files.fingerprint import fingerprint_tensors
from fcclip.files.video_writer import FRAGMENT, can_write_h264
from fcclip.segmentation import Segmentation
from fcclip.video.stream import TrackedStream


@dataclass(frozen=True)
class VideoChoices:
    """What can be chosen of a video.

    Attributes:
        tracks: follow objects.
        look_ahead: see `Segmenter.track`.
        every: segment only one of so many frames: the first that can be read.
        save_tracks: folder for the tracks in VIPSeg's layout, or None.
        resume: go on where an interrupted run stopped.
        whole: see `Segmenter.track_whole`.
    """

    tracks: bool = True
    look_ahead: int = 5
    every: int = 1
    save_tracks: Path | None = None
    resume: bool = False
    whole: bool = False


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


def plan_video_job(
    reader: FrameReader, output: Path | None, json: Path | None, choices: VideoChoices, is_camera: bool
) -> VideoJob:
    """What is written where; beside the first of the results is the folder of what is not whole yet.

    Raises:
        ValueError: the output cannot be written, or there is nothing that could be gone on with.
    """
    target = plan_video(reader, output)
    first = target or json or choices.save_tracks
    if choices.resume and is_camera:
        raise ValueError("a camera does not show again what it showed; leave out --resume")
    if choices.resume and first is None:
        raise ValueError("--resume goes on with results; name them with --output, --json or --save-tracks")
    if target is not None and not can_write_h264():
        first = None  # OpenCV's files are unreadable until they are whole
        if choices.resume:
            raise ValueError("--resume of a video needs PyAV; pip install 'fcclip[video]'")
    partial = None if first is None or (is_camera and target is None) else first.with_name(f"{first.name}.partial")
    return VideoJob(reader, target, choices, partial, is_camera)


@dataclass
class VideoJob:
    """A video, a folder of frames or a camera, and the files that its results go to, if any.

    Attributes:
        reader: gives the frames.
        output: the video of what is drawn.
        choices: see there.
        partial: folder for what is done while the results are not whole; None for none.
        is_camera: what was seen does not come again.
    """

    reader: FrameReader
    output: Path | None
    choices: VideoChoices = VideoChoices()
    partial: Path | None = None
    is_camera: bool = False
    _begun: PartialRun | None = None
    _is_whole: bool = False

    def begin(self, demo: Demo) -> None:
        """Find what an interrupted run has done, if it is to be gone on with.

        Raises:
            ValueError: it was a run of something else.
        """
        if self.partial is None:
            return
        choices = self.choices
        wanted = (choices.tracks, choices.look_ahead, choices.every, choices.whole, demo.batch_size)
        kinds = (self.output is not None, demo.report.keep_results, choices.save_tracks is not None)
        settings = {
            "input": self.reader.stamp,
            "weights": fingerprint_tensors(demo.segmenter.model.state_dict()),
            **demo.settings,
            "flags": repr((*wanted, *kinds)),
        }
        self._begun = PartialRun.open(self.partial, settings, choices.resume, demo.segmenter.model.device)
        self._begun.is_resumable = not (self.is_camera or demo.report.writers)

    def run(self, demo: Demo) -> None:
        """Segment every frame; the first Ctrl-C, or Esc in the window, ends the reading of frames, the second all.

        Whatever ends it, the results of the frames before that are written.
        """
        choices, done = self.choices, 0 if self._begun is None else self._begun.frames
        fps = self.reader.fps / choices.every
        with interruption_noted() as interruption, ExitStack() as stack:
            frames = FrameSource(self.reader, choices.every, done, 3 if choices.whole else 1, interruption)
            stack.callback(frames.close)
            results = stack.enter_context(
                FrameResults(demo, self.reader.name, self.output, fps, choices.save_tracks, self._begun)
            )
            if done:
                tqdm.write(f"{done} frames are done already")
            self._segment(demo, frames, results, interruption)
        for problem in frames.reader.problems:
            demo.report.skip(problem)
        results.tell()

    def tidy(self) -> None:
        """Once all results are written: leave only what another run can go on with."""
        if self._begun is not None and (self._is_whole or not self._begun.can_be_resumed):
            self._begun.remove()

    def _segment(self, demo: Demo, frames: FrameSource, results: FrameResults, interruption: Interruption) -> None:
        """Segment the frames, and say why not all were."""
        stop = f"{self.reader.name}: stopped after frame"
        try:
            self._add_all(demo, frames, results, interruption)
            self._is_whole = not interruption.came
            if interruption.came:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            goes_on = self._begun is not None and self._begun.can_be_resumed
            hint = "; the same command with --resume goes on" if goes_on else ""
            demo.report.skip(f"{stop} {results.last_number}: the run was interrupted{hint}")
        except FAILURES as error:  # without the frame nothing after it can be followed
            demo.report.skip(f"{stop} {results.last_number}: {error}")

    def _add_all(self, demo: Demo, frames: FrameSource, results: FrameResults, interruption: Interruption) -> None:
        """Segment the frames, until the user presses Esc in the window.

        No run may go on from after an interruption: the last frames could not look ahead.
        """
        stream = self._stream(demo, frames, results.count)
        step = -(-FRAGMENT // demo.batch_size) * demo.batch_size  # so that a resumed run has the same batches
        for result in stream:
            place = frames.places.popleft()
            wants_more = results.add(place, None if result is None else result.above(demo.threshold))
            if results.count % step == 0 and not interruption.came:
                results.commit(stream.state() if isinstance(stream, TrackedStream) else None)
            if not wants_more:
                return

    def _stream(self, demo: Demo, frames: FrameSource, done: int) -> Iterator[Segmentation | None]:
        """The results of the frames after those that are done."""
        if self.choices.whole:
            return islice(demo.segmenter.track_whole(frames, demo.batch_size), done, None)
        rest = islice(frames, done, None)
        if self.choices.tracks and demo.segmenter.can_track:
            state = None if self._begun is None else self._begun.state
            return demo.segmenter.track(rest, self.choices.look_ahead, demo.batch_size, state=state)

        def skip(_: int, error: Exception) -> None:
            demo.report.skip_image(f"{self.reader.name}, frame {frames.places[0].number}", error)

        return demo.segmenter.stream(rest, demo.batch_size, on_error=skip)
