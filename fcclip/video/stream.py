"""Following objects through a video: what `Segmenter.track` returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor

from fcclip.formats.result import Segment
from fcclip.inference.tracking.saved import StreamState
from fcclip.inference.tracking.tracker import StreamTracker, TrackedFrame, TrackerOptions, VotedFrame
from fcclip.inference.tracking.tracks import Sighting, Track, TrackBook, TrackOptions, stuff_track
from fcclip.meta_arch.answers import to_segmentation
from fcclip.meta_arch.base import OpenVocabularyModel, QueryScores
from fcclip.meta_arch.fcclip import FCCLIP, EncodedImage
from fcclip.meta_arch.pictures import EncodedPicture
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.segmentation import Segmentation


@dataclass(frozen=True)
class TrackingOptions:
    """How videos are followed; see MODEL.TRACKING in `fcclip.config`.

    Attributes:
        tracker: of queries and their classes.
        tracks: of objects.
        instance_threshold: instances that score less are dropped.
    """

    tracker: TrackerOptions = field(default_factory=TrackerOptions)
    tracks: TrackOptions = field(default_factory=TrackOptions)
    instance_threshold: float = 0.0

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> TrackingOptions:
        """The options of MODEL.TRACKING."""
        node = cfg.MODEL.TRACKING
        return cls(
            TrackerOptions(
                memory_frames=node.MEMORY_FRAMES,
                memory_votes=node.MEMORY_VOTES,
                vote_decay=node.VOTE_DECAY,
                cut_cosine=node.CUT_COSINE,
                cut_drop=node.CUT_DROP,
                keep=node.KEEP_FRAMES,
            ),
            TrackOptions(
                accept=node.ACCEPT_COSINE,
                revive=node.REVIVE_COSINE,
                revive_margin=node.REVIVE_MARGIN,
                max_tracks=node.MAX_TRACKS,
            ),
        )


def can_track(model: OpenVocabularyModel) -> bool:
    """Whether a model gives what tracks are made of."""
    return isinstance(model, FCCLIP) and model.panoptic_on


@dataclass(frozen=True)
class _Frame:
    """What has to be kept of a frame until it is given out."""

    image: np.ndarray
    encoded: EncodedImage  # without the dense features

    @property
    def queries(self) -> Tensor:
        """(Q, D)"""
        return self.encoded.decoded.query_embeddings[0]


class TrackedStream(Iterator[Segmentation]):
    """The segmentations of the frames of a video, one by one; `reset` begins a new shot.

    Args:
        model: an FC-CLIP with panoptic results.
        classes: what to find.
        pictures: the frames, encoded.
        look_ahead: frames whose votes count before a frame is given out.
        options: thresholds.
        state: go on after the frame that an earlier stream had this `state` at; None at the beginning.

    Raises:
        ValueError: the model gives no panoptic results.
    """

    def __init__(
        self,
        model: OpenVocabularyModel,
        classes: EncodedVocabulary,
        pictures: Iterator[EncodedPicture],
        look_ahead: int,
        options: TrackingOptions,
        state: StreamState | None = None,
    ) -> None:
        self._model, self._classes, self._pictures = require_tracks(model), classes, pictures
        self._tracker: StreamTracker[_Frame] = StreamTracker(replace(options.tracker, look_ahead=look_ahead))
        self._book = TrackBook(options.tracks)
        self._instance_threshold = options.instance_threshold
        self._reset = False
        self._last: VotedFrame[_Frame] | None = None  # that was given out
        if state is not None:
            self._tracker.go_on(state.tracker)
            self._book.go_on(state.book)
        self._results = self._follow()

    def __next__(self) -> Segmentation:
        return next(self._results)

    def reset(self) -> None:
        """Begin a new shot with the next frame that is read, as at a cut; ids go on, and known objects keep theirs."""
        self._reset = True

    def state(self) -> StreamState | None:
        """What a stream of the frames after the last result has to know to go on as this one does; None before one."""
        return None if self._last is None else StreamState(self._last.state, self._book.state())

    def _follow(self) -> Iterator[Segmentation]:
        for picture in self._pictures:
            if self._reset:
                self._reset = False
                yield from map(self._finish, self._tracker.end_shot())
            yield from map(self._finish, self._tracker.push(self._classified(picture)))
        yield from map(self._finish, self._tracker.end_shot())

    def _classified(self, picture: EncodedPicture) -> TrackedFrame[_Frame]:
        decoded, sizes = picture.encoded.decoded, picture.encoded.sizes
        with torch.no_grad():
            log_probabilities = self._model.classify(decoded, self._classes)[0]
        kept = replace(decoded, features=decoded.features.new_empty(0))
        frame = _Frame(picture.image, replace(picture.encoded, decoded=kept))
        return TrackedFrame(frame.queries, log_probabilities, (*sizes.padded, *sizes.image, *sizes.output), frame)

    def _finish(self, voted: VotedFrame[_Frame]) -> Segmentation:
        """The results of a frame by the classes that were voted for, with a track for each segment."""
        frame, vocabulary = voted.payload, self._classes.vocabulary
        votes, masks = voted.log_probabilities, frame.encoded.decoded.mask_logits[0]
        with torch.no_grad():
            found = self._model.merge(
                votes, masks, frame.encoded.sizes, vocabulary.thing_ids, True, vocabulary.thresholds
            )
            reasons = explain_votes(self._model, frame.encoded, self._classes, found["panoptic_queries"], votes)
        if voted.begins_shot:
            self._book.begin_shot()
        untracked = to_segmentation(
            frame.image, found, vocabulary, reasons, self._instance_threshold, self._model.uses_random_weights
        )
        self._last = voted
        return replace(untracked, segments=self._with_tracks(untracked.segments, found["panoptic_queries"], voted))

    def _with_tracks(
        self, segments: Sequence[Segment], queries: Sequence[int], voted: VotedFrame[_Frame]
    ) -> tuple[Segment, ...]:
        query_of = dict(zip((segment.id for segment in segments), queries, strict=True))
        things = [segment for segment in segments if segment.is_thing]
        tracks = self._book.assign(
            [
                Sighting(
                    segment.category_id,
                    int(voted.slots[query_of[segment.id]]),
                    voted.payload.queries[query_of[segment.id]],
                )
                for segment in things
            ]
        )
        track_of = {segment.id: track for segment, track in zip(things, tracks, strict=True)}
        return tuple(
            _of_track(segment, track_of[segment.id])
            if segment.is_thing
            else replace(segment, track=stuff_track(segment.category_id))
            for segment in segments
        )


def require_tracks(model: OpenVocabularyModel) -> FCCLIP:
    """The model, if `can_track`.

    Raises:
        ValueError: it cannot.
    """
    if not isinstance(model, FCCLIP) or not can_track(model):
        raise ValueError(
            "objects are followed on panoptic results, which this model does not give; use an FC-CLIP, and set "
            "MODEL.MASK_FORMER.TEST.PANOPTIC_ON True"
        )
    return model


def explain_votes(
    model: FCCLIP, encoded: EncodedImage, classes: EncodedVocabulary, queries: Sequence[int], votes: Tensor
) -> QueryScores | None:
    """What is known of some queries of a frame, with the classes that were voted for; None without queries.

    Args:
        model: gave `encoded`.
        encoded: the frame; its dense features may be missing.
        classes: what to find.
        queries: their numbers.
        votes: (Q, C + 1) log-probabilities of all queries.
    """
    if not queries:
        return None
    return replace(model.explain(encoded, classes, queries), joint=votes[list(queries)].softmax(dim=-1)[:, :-1])


def _of_track(segment: Segment, track: Track) -> Segment:
    return replace(segment, track=track.id, rank=track.rank, hits=track.hits)
