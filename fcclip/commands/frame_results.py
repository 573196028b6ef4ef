"""All that the result of a frame of a video goes to: a video, tracks, JSON, other formats, a window and a summary."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from fcclip.commands.frame_source import Place
from fcclip.commands.partial import Entry, PartialRun
from fcclip.commands.results import Demo
from fcclip.files.atomic import atomic_path
from fcclip.files.video_panoptic import VideoFrame
from fcclip.files.video_writer import GrowingVideo, VideoWriter, check_written, finish_video, open_video_writer
from fcclip.formats.tracks import TrackFiles, TrackSummary, objects_of
from fcclip.inference.tracking.saved import StreamState
from fcclip.segmentation import Segmentation


class FrameResults:
    """Takes the results frame by frame; a context manager that finishes the files, whatever ends its block.

    Args:
        demo: its report gets every result.
        source: name of the video.
        output: the file for what is drawn, or None.
        fps: of that.
        save_tracks: folder for the tracks, or None.
        partial: what is done so far; its frames count as added.

    Attributes:
        count: frames so far.
        last_number: of the last one.
    """

    def __init__(
        self,
        demo: Demo,
        source: str,
        output: Path | None,
        fps: float,
        save_tracks: Path | None,
        partial: PartialRun | None,
    ) -> None:
        self._demo, self._source, self._output, self._partial = demo, source, output, partial
        self._fps, self._save_tracks = fps, save_tracks
        self.count = self.last_number = 0
        self._names: Counter[str] = Counter()
        self._summary = TrackSummary()
        self._stack = ExitStack()
        self._files = self._open_track_files()
        self._growing: GrowingVideo | None = None
        self._writer: VideoWriter | None = None
        if partial is not None and partial.mark is not None:
            self._open_writer((0, 0))  # there may be no frame more
        for entry in () if partial is None else partial.entries:
            self._count(entry)
            if self._files is not None and entry["track_file"] is not None:
                self._files.add_written(VideoFrame(**entry["track_file"]))
            if entry["found"] is not None:
                demo.report.add_records([entry["found"]])
            if entry["problem"] is not None:
                demo.report.skip(entry["problem"])

    def add(self, place: Place, result: Segmentation | None) -> bool:
        """Add the result of a frame, None if it failed, which the report knows; False if the user wants no more."""
        entry: Entry = dict.fromkeys(("found", "track_file", "problem")) | {"frame": place.number}
        if result is None:
            entry |= {"names": [], "objects": [], "problem": self._demo.report.problems[-1]}
        else:
            found = self._demo.report.add(result, file=self._source, frame=place.number)
            entry |= {"names": result.names(), "objects": objects_of(result)}
            entry["found"] = found if self._demo.report.keep_results else None
            if self._files is not None:
                entry["track_file"] = asdict(self._files.add(result, place.name))
        self._count(entry)
        if self._partial is not None:
            self._partial.note(entry)
        return result is None or self._show(result, place.time)

    def commit(self, state: StreamState | None) -> None:
        """Another run may go on from here, with tracks from their state."""
        if self._partial is not None and self._partial.is_resumable:
            self._partial.commit(state, None if self._growing is None else self._growing.end_fragment())

    def tell(self) -> None:
        """What was found, for people to read."""
        tqdm.write(f"\n{self._source}: {self.count} frames")
        for line in self._summary.lines():
            tqdm.write(line)
        for name, frames_with_it in self._names.most_common():
            tqdm.write(f"{name}: in {frames_with_it} frames")
        if self._output is not None:
            tqdm.write(f"video: {self._output}")
        if self._save_tracks is not None:
            tqdm.write(f"tracks: {self._save_tracks}")

    def __enter__(self) -> FrameResults:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _count(self, entry: Entry) -> None:
        self.count += 1
        self.last_number = entry["frame"]
        self._names.update(entry["names"])
        self._summary.add_objects(((track, name) for track, name in entry["objects"]), entry["frame"])

    def _show(self, result: Segmentation, time: float) -> bool:
        window = self._demo.window
        if self._output is None and window is None:
            return True
        picture = result.draw()
        if self._output is not None:
            size = (picture.shape[1], picture.shape[0])
            (self._writer or self._open_writer(size)).write(picture, time)
        return window is None or window.show(picture, wait=False)

    def _open_writer(self, size: tuple[int, int]) -> VideoWriter:
        assert self._output is not None
        if self._partial is None:
            self._writer = self._stack.enter_context(open_video_writer(self._output, self._fps, size))
        else:
            self._writer = self._growing = GrowingVideo(self._partial.video, self._fps, size, self._partial.mark)
            self._stack.callback(self._finish_video, self._growing, self._output)
        return self._writer

    def _open_track_files(self) -> TrackFiles | None:
        if self._save_tracks is None:
            return None
        vocabulary = self._demo.segmenter.vocabulary
        assert vocabulary is not None  # it was set before the job was run
        video = Path(self._source).stem.replace(" ", "_")
        return self._stack.enter_context(TrackFiles(self._save_tracks, video, vocabulary))

    @staticmethod
    def _finish_video(growing: GrowingVideo, output: Path) -> None:
        growing.close()
        if growing.frames_written:
            with atomic_path(output) as scratch:
                finish_video(growing.path, scratch)
                check_written(scratch, growing.frames_written, output)
