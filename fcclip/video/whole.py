"""Following objects through a whole video, by the rule of MinVIS_OV: what `Segmenter.track_whole` returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from fcclip.files.disk_list import DiskList
from fcclip.files.images import ImageLike, to_rgb
from fcclip.formats.result import NEAREST_CLASSES
from fcclip.inference.tracking.matching import SlotMatcher
from fcclip.inference.tracking.tracks import stuff_track
from fcclip.inference.tracking.tubes import FrameSize, PanopticTubes, TubeSegment
from fcclip.inference.tracking.votes import Votes
from fcclip.meta_arch.answers import to_segments
from fcclip.meta_arch.base import OpenVocabularyModel, QueryScores
from fcclip.meta_arch.fcclip import Sizes
from fcclip.meta_arch.pictures import EncodedPicture
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.segmentation import Segmentation
from fcclip.video.stream import require_tracks

Item = TypeVar("Item")
Encode = Callable[[Iterator[np.ndarray]], Iterator[EncodedPicture]]


class WholeVideo(Iterator[Segmentation]):
    """The segmentations of the frames of a video, one by one, after all of them were looked at.

    The first pass over the frames matches the queries and averages their classes, the second merges the masks, the
    third gives out the results. What is kept of each frame is in temporary files.

    Args:
        model: an FC-CLIP with panoptic results.
        classes: what to find.
        frames: can be read three times.
        encode: the network.

    Raises:
        ValueError: the model gives no panoptic results, or the frames can be read only once.

    Source: DVIS_Plus (Zhang et al., 2023), its MinVIS_OV on FC-CLIP.
    """

    def __init__(
        self, model: OpenVocabularyModel, classes: EncodedVocabulary, frames: Iterable[ImageLike], encode: Encode
    ) -> None:
        self._model, self._classes, self._frames, self._encode = require_tracks(model), classes, frames, encode
        if iter(frames) is frames:
            raise ValueError("a whole video is read three times; give its frames as a list, not as an iterator")
        self._orders = DiskList()  # query of each slot, int64
        self._reasons = DiskList()  # of the slots that win pixels
        self._votes = torch.zeros(0, 0)
        self._tracks: dict[int, tuple[int, int | None]] = {}  # of segments
        self._results = self._follow()

    def __next__(self) -> Segmentation:
        return next(self._results)

    def _follow(self) -> Iterator[Segmentation]:
        sizes = self._match()
        if sizes is None:
            return
        tubes = self._merge(sizes)
        segments, segment_of_slot = tubes.segments()
        self._tracks = _tracks_of(segments)
        # Frames come first, so that their source is read to its end, where it tells what it could not read.
        for frame, number in zip(map(to_rgb, self._frames), range(len(self._orders)), strict=False):
            ids = tubes.frame(number, segment_of_slot)
            yield self._result(frame, ids, segments, segment_of_slot, load(self._reasons[number]))

    def _match(self) -> Sizes | None:
        """The first pass: the order of every frame, and the votes; the size of the frames, None if there are none."""
        matcher, votes = SlotMatcher(), Votes()
        sizes: Sizes | None = None
        for picture in self._pictures():
            decoded = picture.encoded.decoded
            if sizes is not None and picture.encoded.sizes != sizes:
                raise ValueError(
                    f"a whole video has frames of one size; number {len(self._orders) + 1} is "
                    f"{picture.image.shape[1]}x{picture.image.shape[0]} pixels"
                )
            sizes = picture.encoded.sizes
            with torch.no_grad():
                log_probabilities = self._model.classify(decoded, self._classes)[0]
            order = matcher.match(decoded.query_embeddings[0])
            matcher.remember(decoded.query_embeddings[0][order])
            votes.add(log_probabilities[order])
            self._orders.append(order.numpy().tobytes())
        if sizes is not None:
            self._votes = votes.mean()
        return sizes

    def _merge(self, sizes: Sizes) -> PanopticTubes:
        """The second pass: the masks, and what is known of those that are seen."""
        vocabulary = self._classes.vocabulary
        tubes = PanopticTubes(
            self._votes,
            FrameSize(sizes.padded, sizes.image, sizes.output),
            vocabulary.thing_ids,
            self._model.object_mask_threshold,
            self._model.overlap_threshold,
            self._model.chunk_bytes,
            vocabulary.thresholds,
            DiskList(),
        )
        for number, picture in enumerate(self._again(self._pictures())):
            order = torch.from_numpy(np.frombuffer(self._orders[number], np.int64).copy())
            with torch.no_grad():
                seen = tubes.add(picture.encoded.decoded.mask_logits[0][order])
                self._reasons.append(save(self._explain(picture, seen, order[seen].tolist())))
        return tubes

    def _explain(self, picture: EncodedPicture, slots: list[int], queries: list[int]) -> dict[str, Tensor]:
        """What each classifier says of some slots in a frame, of the classes that they were voted to come nearest."""
        if not slots:
            return {"slots": torch.zeros(0, dtype=torch.int64)}
        reasons = self._model.explain(picture.encoded, self._classes, queries)
        best = self._nearest(slots)
        found = {
            "slots": torch.tensor(slots),
            "in_vocab": reasons.in_vocab.gather(1, best),
            "out_vocab": reasons.out_vocab.gather(1, best),
            "embeddings": reasons.embeddings,
        }
        return {name: tensor.cpu().contiguous() for name, tensor in found.items()}

    def _joint(self, slots: Sequence[int]) -> Tensor:
        """(n, C) probabilities of the classes of some slots, by the votes."""
        return self._votes[list(slots)].float().softmax(dim=-1)[:, :-1]

    def _nearest(self, slots: Sequence[int]) -> Tensor:
        return self._joint(slots).topk(min(NEAREST_CLASSES, len(self._classes.vocabulary)), dim=1).indices

    def _result(
        self,
        frame: np.ndarray,
        ids: np.ndarray,
        segments: Sequence[TubeSegment],
        segment_of_slot: dict[int, int],
        saved: dict[str, Tensor],
    ) -> Segmentation:
        slots = saved["slots"].tolist()
        certainty = self._joint(slots).amax(dim=1).tolist() if slots else []
        row_of: dict[int, int] = {}  # segment -> its most certain slot in this frame, of stuff there may be several
        for row in sorted(range(len(slots)), key=lambda row: certainty[row]):
            if slots[row] in segment_of_slot:
                row_of[segment_of_slot[slots[row]]] = row
        present = [segment for segment in segments if segment.id in row_of]
        rows = [row_of[segment.id] for segment in present]
        found = {
            "panoptic_seg": (torch.from_numpy(ids), [segment.as_info() for segment in present]),
            "panoptic_scores": [certainty[row] for row in rows],
        }
        reasons = self._reasons_of([slots[row] for row in rows], rows, saved) if rows else None
        panoptic, described = to_segments(found, self._classes.vocabulary, reasons)
        pairs = [(segment, *self._tracks[segment.id]) for segment in described]
        tracked = tuple(replace(segment, track=track, rank=rank) for segment, track, rank in pairs)
        return Segmentation(
            frame, self._classes.vocabulary, panoptic, tracked, random_weights=self._model.uses_random_weights
        )

    def _reasons_of(self, slots: list[int], rows: list[int], saved: dict[str, Tensor]) -> QueryScores:
        """Tables of all classes; of those that did not come near, what the classifiers said is not known."""
        joint = self._joint(slots).cpu()
        best = self._nearest(slots).cpu()
        said = [torch.zeros_like(joint).scatter(1, best, saved[name][rows]) for name in ("in_vocab", "out_vocab")]
        return QueryScores(joint, said[0], said[1], saved["embeddings"][rows])

    def _pictures(self) -> Iterator[EncodedPicture]:
        return self._encode(map(to_rgb, self._frames))

    def _again(self, items: Iterator[Item]) -> Iterator[Item]:
        """As many items as there were frames in the first pass."""
        count = 0
        for item in items:
            count += 1
            if count > len(self._orders):
                break
            yield item
        if count != len(self._orders):
            raise ValueError("a whole video is read three times, but its frames were others when they were read again")


def _tracks_of(segments: Sequence[TubeSegment]) -> dict[int, tuple[int, int | None]]:
    """Segment -> its track, objects counted from 1, and the how-manieth object of its class it is."""
    tracks: dict[int, tuple[int, int | None]] = {}
    ranks: Counter[int] = Counter()
    for segment in segments:
        if segment.is_thing:
            tracks[segment.id] = (1 + ranks.total(), ranks[segment.category_id])
            ranks[segment.category_id] += 1
        else:
            tracks[segment.id] = (stuff_track(segment.category_id), None)
    return tracks
