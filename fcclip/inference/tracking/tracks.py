"""Tracks: the ids of the objects of a stream."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

STUFF_OFFSET = 1_000_000  # above the id of any object; still fits the three bytes of a panoptic PNG
SLOT_BONUS = 0.05  # of cosine, for an object that is still in its slot: it decides between objects that look alike
NUMBERS = ("id", "rank", "first_frame", "last_frame", "slot", "hits")  # of a track
ABSENCE = 2  # frames since a track was seen, up to which it goes on; later it has to be revived


@dataclass(frozen=True)
class TrackOptions:
    """When two sightings are one object; cosines were measured on the built-in world with its small model.

    Attributes:
        accept: least cosine to the last sightings of a track that goes on.
        revive: least cosine to those of a track that was not seen for more than a frame, or not in this shot.
        revive_margin: how much a revived track must be ahead of the next best; a wrong revival is worse than a new id.
        max_tracks: how many tracks are remembered; beyond that the one that was seen longest ago is forgotten.
        sightings: how many embeddings of each track are remembered.
    """

    accept: float = 0.5
    revive: float = 0.6
    revive_margin: float = 0.1
    max_tracks: int = 200
    sightings: int = 5


@dataclass(frozen=True)
class Sighting:
    """An object in a frame.

    Attributes:
        category_id: its class in this frame.
        slot: see `SlotMatcher`.
        embedding: (D,) its query.
    """

    category_id: int
    slot: int
    embedding: Tensor


@dataclass
class Track:
    """One object over time.

    Attributes:
        id: from 1, never used again.
        rank: the how-manieth of its class it is, from 0.
        first_frame, last_frame: numbers of frames, from 0, in which it was seen.
        hits: number of frames in which it was seen.
        slot: the last one.
        classes: frames by class.
        embeddings: unit rows of the last sightings.
    """

    id: int
    rank: int
    first_frame: int
    last_frame: int
    slot: int
    embeddings: deque[np.ndarray]
    hits: int = 0
    classes: Counter[int] = field(default_factory=Counter)

    @property
    def category_id(self) -> int:
        """The class it had most often."""
        return self.classes.most_common(1)[0][0]

    def as_record(self) -> dict[str, Any]:
        """All but the embeddings, of which their number, ready for JSON."""
        return {
            **{name: getattr(self, name) for name in NUMBERS},
            "embeddings": len(self.embeddings),
            "classes": [list(pair) for pair in self.classes.items()],  # at a tie the class that came first counts
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], rows: Iterator[np.ndarray], most: int) -> Track:
        """The track of a record; its embeddings are the next ones of `rows`, and it remembers `most` of them."""
        return cls(
            **{name: record[name] for name in NUMBERS},
            embeddings=deque(islice(rows, record["embeddings"]), maxlen=most),
            classes=Counter(dict(record["classes"])),
        )


@dataclass(frozen=True)
class BookState:
    """What a book of tracks knows, as plain data.

    Attributes:
        embeddings: (n, D) float32, the sightings of all tracks, one track after the other.
        tracks: see `Track.as_record`.
        next_id: the next new track gets it.
        of_class: class and number of its tracks so far.
        frame: number of the last frame, from 0.
        shot_begins: number of the first frame of its shot.
    """

    embeddings: Tensor
    tracks: list[dict[str, Any]]
    next_id: int
    of_class: list[tuple[int, int]]
    frame: int
    shot_begins: int


class TrackBook:
    """Gives the objects of frame after frame their ids. Its size does not grow with the length of the stream.

    An object goes on if its query is near the last sightings of a track, whatever its class: the class may flip. One
    that returns from behind another object, or after a cut, is recognised if it is near enough, and clearly nearer than
    any other track of its class; else it gets a new id.
    """

    def __init__(self, options: TrackOptions | None = None) -> None:
        self._options = options or TrackOptions()
        self._tracks: list[Track] = []
        self._next_id = 1
        self._of_class: Counter[int] = Counter()
        self._frame = -1
        self._shot_begins = 0

    def begin_shot(self) -> None:
        """From the next frame on, tracks have to be revived."""
        self._shot_begins = self._frame + 1

    def assign(self, sightings: Sequence[Sighting]) -> list[Track]:
        """The track of each object of the next frame, in the order of `sightings`."""
        self._frame += 1
        found: list[Track | None] = [None] * len(sightings)
        if sightings:
            stacked = torch.stack([sighting.embedding for sighting in sightings]).float().cpu()
            unit = torch.nn.functional.normalize(stacked, dim=-1).numpy()
            self._continue(sightings, unit, found)
            self._revive(sightings, unit, found)
            for row, sighting in enumerate(sightings):
                found[row] = track = found[row] or self._open(sighting)
                self._update(track, sighting, unit[row])
        self._forget_oldest()
        return [track for track in found if track is not None]

    def state(self) -> BookState:
        """A copy of all that is known, from which another book can go on."""
        rows = [row for track in self._tracks for row in track.embeddings]
        return BookState(
            embeddings=torch.from_numpy(np.stack(rows)) if rows else torch.zeros(0, 0),
            tracks=[track.as_record() for track in self._tracks],
            next_id=self._next_id,
            of_class=list(self._of_class.items()),
            frame=self._frame,
            shot_begins=self._shot_begins,
        )

    def go_on(self, state: BookState) -> None:
        """Go on from a `state`."""
        rows = iter(state.embeddings.numpy())
        self._tracks = [Track.from_record(record, rows, self._options.sightings) for record in state.tracks]
        self._next_id, self._frame, self._shot_begins = state.next_id, state.frame, state.shot_begins
        self._of_class = Counter(dict(state.of_class))

    def _continue(self, sightings: Sequence[Sighting], unit: np.ndarray, found: list[Track | None]) -> None:
        going = [track for track in self._tracks if self._goes_on(track)]
        if not going:
            return
        cosines = _cosines(unit, going)
        same_slot = np.array([[sighting.slot == track.slot for track in going] for sighting in sightings])
        gain = np.where(cosines >= self._options.accept, cosines + SLOT_BONUS * same_slot, 0)
        for row, column in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[row, column] > 0:
                found[row] = going[column]

    def _revive(self, sightings: Sequence[Sighting], unit: np.ndarray, found: list[Track | None]) -> None:
        new = [row for row, track in enumerate(found) if track is None]
        absent = [track for track in self._tracks if not self._goes_on(track)]
        if not new or not absent:
            return
        cosines = _cosines(unit[new], absent)
        other = np.array([[sightings[row].category_id != track.category_id for track in absent] for row in new])
        cosines[other] = -1
        ordered = np.sort(cosines, axis=1)
        second = ordered[:, -2] if len(absent) > 1 else np.full(len(new), -1.0)
        clear = (cosines >= self._options.revive) & (cosines >= second[:, None] + self._options.revive_margin)
        gain = np.where(clear, cosines, 0)
        for row, column in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[row, column] > 0:
                found[new[row]] = absent[column]

    def _goes_on(self, track: Track) -> bool:
        return track.last_frame >= max(self._shot_begins, self._frame - ABSENCE)

    def _open(self, sighting: Sighting) -> Track:
        rank = self._of_class[sighting.category_id]
        self._of_class[sighting.category_id] += 1
        memory: deque[np.ndarray] = deque(maxlen=self._options.sightings)
        track = Track(self._next_id, rank, self._frame, self._frame, sighting.slot, memory)
        self._next_id += 1
        self._tracks.append(track)
        return track

    def _update(self, track: Track, sighting: Sighting, unit: np.ndarray) -> None:
        track.last_frame, track.slot = self._frame, sighting.slot
        track.hits += 1
        track.classes[sighting.category_id] += 1
        track.embeddings.append(unit)

    def _forget_oldest(self) -> None:
        if len(self._tracks) > self._options.max_tracks:
            self._tracks.sort(key=lambda track: (track.last_frame, track.id))
            del self._tracks[: -self._options.max_tracks]


def stuff_track(category_id: int) -> int:
    """The id of a class of stuff, in every frame of every stream."""
    return STUFF_OFFSET + 1 + category_id


def _cosines(unit: np.ndarray, tracks: Sequence[Track]) -> np.ndarray:
    """(rows, tracks) largest cosine of unit rows to the sightings that a track remembers."""
    lengths = [len(track.embeddings) for track in tracks]
    every = unit @ np.stack([row for track in tracks for row in track.embeddings]).T
    return np.maximum.reduceat(every, np.cumsum([0, *lengths[:-1]]), axis=1)
