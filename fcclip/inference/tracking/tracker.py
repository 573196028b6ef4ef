"""Following a stream: slots, votes of the past and of a few frames ahead, and cuts, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from statistics import median
from typing import Generic, TypeVar

import torch
from torch import Tensor

from fcclip.inference.tracking.matching import SlotMatcher
from fcclip.inference.tracking.votes import Votes

Payload = TypeVar("Payload")


@dataclass(frozen=True)
class TrackerOptions:
    """How a stream is followed; thresholds were measured on the built-in world with its small model.

    Attributes:
        look_ahead: frames whose votes count before a frame is given out.
        memory_frames, memory_votes: see `SlotMatcher`.
        vote_decay: see `Votes`.
        cut_cosine: a cut needs a mean cosine of all slots to the last frame below this,
        cut_drop: and one that is so much below the median of the shot.
        keep: a slot that was void for so many frames loses its votes, as what comes next is another object.
        history: frames over which that median is taken.
    """

    look_ahead: int = 5
    memory_frames: int = 9
    memory_votes: int = 5
    vote_decay: float = 1.0
    cut_cosine: float = 0.87
    cut_drop: float = 0.08
    keep: int = 30
    history: int = 31

    def __post_init__(self) -> None:
        if self.look_ahead < 0:
            raise ValueError(f"look_ahead is a number of frames, 0 for a camera, not {self.look_ahead}")
        if self.keep <= self.look_ahead:
            raise ValueError(f"look_ahead ({self.look_ahead}) must be less than the {self.keep} frames a slot is kept")


@dataclass(frozen=True)
class TrackedFrame(Generic[Payload]):
    """What the network says of a frame.

    Attributes:
        embeddings: (Q, D), the decoder's queries.
        log_probabilities: (Q, C + 1) of classes, void last.
        size: whatever changes when the frames are of another size; that begins a new shot.
        payload: handed through.
    """

    embeddings: Tensor
    log_probabilities: Tensor
    size: Hashable
    payload: Payload


@dataclass(frozen=True)
class TrackerState:
    """All that a tracker needs to know of a shot so far, to go on with the frames after it.

    Attributes:
        memory: see `SlotMatcher.memory`.
        sums, weights: see `Votes.tables`.
        void_frames: (Q,) int64, for how many frames each slot has been void.
        similarities: of successive frames.
        size: of the frames.
    """

    memory: tuple[Tensor, ...]
    sums: Tensor
    weights: Tensor
    void_frames: Tensor
    similarities: tuple[float, ...]
    size: Hashable


@dataclass(frozen=True)
class VotedFrame(Generic[Payload]):
    """A frame with the classes that the frames around it voted for.

    Attributes:
        payload: that of the frame.
        log_probabilities: (Q, C + 1) voted, in the order of the frame's own queries.
        slots: (Q,) int64 on the CPU: the slot of each query.
        begins_shot: it is the first frame after a cut, another size or a reset.
        state: after this frame, before those whose votes are in it already: a tracker that goes on from it with the
            next frame gives the same as this one.
    """

    payload: Payload
    log_probabilities: Tensor
    slots: Tensor
    begins_shot: bool
    state: TrackerState


@dataclass(frozen=True)
class _Waiting(Generic[Payload]):
    payload: Payload
    order: Tensor  # query of each slot
    begins_shot: bool
    state: TrackerState


class StreamTracker(Generic[Payload]):
    """Follows the queries of a stream of frames.

        tracker = StreamTracker(TrackerOptions(look_ahead=5))
        for frame in frames:
            for voted in tracker.push(frame): ...
        for voted in tracker.end_shot(): ...

    Memory: `look_ahead` payloads and tables of votes, and so many sets of embeddings more than `memory_frames`.
    """

    def __init__(self, options: TrackerOptions | None = None) -> None:
        self.options = options or TrackerOptions()
        self._matcher = SlotMatcher(self.options.memory_frames, self.options.memory_votes)
        self._votes = Votes(self.options.vote_decay)
        self._similarities: deque[float] = deque(maxlen=self.options.history)
        self._waiting: deque[_Waiting[Payload]] = deque()
        self._void_frames: Tensor | None = None
        self._size: Hashable = None
        self._begins_shot = True

    def push(self, frame: TrackedFrame[Payload]) -> list[VotedFrame[Payload]]:
        """Take the next frame; return those that have waited long enough, in order: none, one, or all before a cut."""
        ready: list[VotedFrame[Payload]] = []
        if frame.size != self._size:
            ready += self.end_shot()
            self._size = frame.size
        order = self._matcher.match(frame.embeddings)
        similarity = self._matcher.similarity(frame.embeddings[order])
        if similarity is not None and self._is_cut(similarity):
            ready += self.end_shot()
            order = self._matcher.match(frame.embeddings)
        elif similarity is not None:
            self._similarities.append(similarity)
        self._matcher.remember(frame.embeddings[order])
        self._vote(frame.log_probabilities[order])
        self._waiting.append(_Waiting(frame.payload, order, self._begins_shot, self._state()))
        self._begins_shot = False
        if len(self._waiting) > self.options.look_ahead:
            ready.append(self._voted(self._waiting.popleft()))
        return ready

    def end_shot(self) -> list[VotedFrame[Payload]]:
        """Give out all frames that wait, and begin anew with the next one."""
        ready = [self._voted(waiting) for waiting in self._waiting]
        self._waiting.clear()
        self._matcher.forget()
        self._votes.forget()
        self._similarities.clear()
        self._void_frames = None
        self._begins_shot = True
        return ready

    def go_on(self, state: TrackerState) -> None:
        """Go on after the frame of a `VotedFrame.state`, in the middle of its shot."""
        self.end_shot()
        for aligned in state.memory:
            self._matcher.remember(aligned)
        self._votes.go_on(state.sums, state.weights)
        self._similarities.extend(state.similarities)
        self._void_frames, self._size, self._begins_shot = state.void_frames, state.size, False

    def _state(self) -> TrackerState:
        tables = self._votes.tables
        assert tables is not None  # a frame has just voted
        assert self._void_frames is not None
        return TrackerState(self._matcher.memory, *tables, self._void_frames, tuple(self._similarities), self._size)

    def _is_cut(self, similarity: float) -> bool:
        usual = median(self._similarities) if self._similarities else 1.0
        return similarity < min(self.options.cut_cosine, usual - self.options.cut_drop)

    def _vote(self, log_probabilities: Tensor) -> None:
        is_void = log_probabilities[:, -1] > torch.tensor(0.5).log()
        if self._void_frames is None:
            self._void_frames = torch.zeros_like(is_void, dtype=torch.int64)
        self._void_frames = torch.where(is_void, self._void_frames + 1, 0)
        self._votes.clear(self._void_frames >= self.options.keep)
        self._votes.add(log_probabilities)

    def _voted(self, waiting: _Waiting[Payload]) -> VotedFrame[Payload]:
        slots = torch.empty_like(waiting.order)
        slots[waiting.order] = torch.arange(len(slots))
        return VotedFrame(waiting.payload, self._votes.mean()[slots], slots, waiting.begins_shot, waiting.state)
