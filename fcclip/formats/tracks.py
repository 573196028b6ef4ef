"""Tracks of a video: as files in VIPSeg's layout, and as lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fcclip.files.panoptic import measure_segments, write_panoptic_png
from fcclip.files.video_panoptic import VideoFrame, write_video_panoptic_json
from fcclip.formats.result import CONFIRMED, Result
from fcclip.vocabulary import Vocabulary


class TrackFiles:
    """Writes `pan_pred/<video>/<frame>.png` and, at the end, `pred.json`, as VIPSeg's tools read predictions.

    Colours are tracks, id = R + 256 G + 65536 B; category ids are positions in the vocabulary, which the JSON lists.

    Args:
        folder: where to.
        video: its name.
        vocabulary: the classes.
    """

    def __init__(self, folder: str | Path, video: str, vocabulary: Vocabulary) -> None:
        self._folder, self._video, self._vocabulary = Path(folder), video, vocabulary
        self._frames: list[VideoFrame] = []

    def add(self, result: Result, name: str) -> VideoFrame:
        """Write one frame, called `name`; what the JSON file will say of it.

        Raises:
            ValueError: it has no tracks.
        """
        ids = result.tracks()
        segments = [
            {"id": segment.track, "category_id": segment.category_id, "score": segment.score}
            for segment in result.segments
        ]
        write_panoptic_png(self._folder / "pan_pred" / self._video / f"{name}.png", ids)
        frame = VideoFrame(f"{name}.png", measure_segments(ids, segments))
        self.add_written(frame)
        return frame

    def add_written(self, frame: VideoFrame) -> None:
        """Note a frame whose PNG is there."""
        self._frames.append(frame)

    def close(self) -> None:
        """Write the JSON file."""
        categories = [
            {"id": index, "name": category.name, "isthing": int(category.is_thing)}
            for index, category in enumerate(self._vocabulary.categories)
        ]
        write_video_panoptic_json(self._folder / "pred.json", {self._video: self._frames}, categories)

    def __enter__(self) -> TrackFiles:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass
class _Seen:
    first: int
    last: int
    frames: int = 0
    names: Counter[str] = field(default_factory=Counter)


class TrackSummary:
    """Which object was seen when: "cat 3: frames 12-148"; those that stayed tentative are only counted."""

    def __init__(self) -> None:
        self._objects: dict[int, _Seen] = {}

    def add(self, result: Result, frame: int) -> None:
        """Note the objects of a frame, given its number."""
        self.add_objects(objects_of(result), frame)

    def add_objects(self, objects: Iterable[tuple[int, str]], frame: int) -> None:
        """Note `objects_of` a frame, given its number."""
        for track, name in objects:
            seen = self._objects.setdefault(track, _Seen(frame, frame))
            seen.last = frame
            seen.frames += 1
            seen.names[name] += 1

    def lines(self) -> list[str]:
        """One line per object, in the order of their ids; it has the name that it had most often."""
        sure = {track: seen for track, seen in sorted(self._objects.items()) if seen.frames >= CONFIRMED}
        unsure = len(self._objects) - len(sure)
        listed = [
            f"{seen.names.most_common(1)[0][0]} {track}: "
            + (f"frames {seen.first}-{seen.last}" if seen.first != seen.last else f"frame {seen.first}")
            + (f" ({seen.frames} of them)" if seen.frames < 1 + seen.last - seen.first else "")
            for track, seen in sure.items()
        ]
        if unsure:
            listed.append(f"in fewer than {CONFIRMED} frames: {unsure} object{'s' if unsure > 1 else ''}")
        return listed


def objects_of(result: Result) -> list[tuple[int, str]]:
    """Track and name of the objects of a frame."""
    return [
        (segment.track, segment.name) for segment in result.segments if segment.is_thing and segment.track is not None
    ]
