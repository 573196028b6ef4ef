"""Results of a whole video from its aligned masks and its voted classes, as MinVIS_OV computes them.

They differ from those of images in small things that matter for equal numbers: the sigmoid is taken between the two
resizes, panoptic tests of areas are made on tubes (a query's pixels in all frames), and instances are scored by their
class alone. Masks come frame by frame, so that those of the whole video need not be held.

Source: DVIS_Plus (Zhang et al., 2023), its MinVIS_OV on FC-CLIP.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from fcclip.inference.bands import Size, bands
from fcclip.inference.masks import MaskUpsampler, floored_sigmoid, largest, resize_columns, resize_matrix, support

MAX_TUBES = 10  # instances, as published


class MapList(Protocol):
    """A list of bytes, in memory or elsewhere."""

    def append(self, data: bytes, /) -> None: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> bytes: ...


@dataclass(frozen=True)
class FrameSize:
    """Sizes of a frame on its way, (height, width): as it goes through the network, without padding, of the result."""

    padded: Size
    image: Size
    output: Size


@dataclass(frozen=True)
class TubeSegment:
    """A segment of a video: its value in all panoptic maps, its class and kind."""

    id: int
    category_id: int
    is_thing: bool

    def as_info(self) -> dict[str, int | bool]:
        """The entry that evaluators expect."""
        return {"id": self.id, "isthing": self.is_thing, "category_id": self.category_id}


class PanopticTubes:
    """Panoptic segmentation of a video: `add` every frame, then ask for `result`.

    A query needs a class other than void and a score above `object_mask_threshold`; of the pixels of its own mask in
    all frames together it must win the share `overlap_threshold`.

    Memory: a compressed map per frame, where `maps` keeps it.

    Args:
        class_logits: (Q, C + 1) voted log-probabilities, void last.
        size: of every frame.
        thing_ids: classes of which every query is a segment of its own.
        chunk_bytes: of upsampled masks that are held at a time.
        thresholds: least score of a query of each class, C numbers, besides `object_mask_threshold`.
        maps: an empty list, in which the map of each frame is kept.
    """

    def __init__(
        self,
        class_logits: Tensor,
        size: FrameSize,
        thing_ids: Collection[int],
        object_mask_threshold: float,
        overlap_threshold: float,
        chunk_bytes: int,
        thresholds: Sequence[float] | None = None,
        maps: MapList | None = None,
    ) -> None:
        scores, labels = class_logits.float().softmax(dim=-1).max(dim=-1)
        kept = (labels != class_logits.shape[-1] - 1) & (scores > object_mask_threshold)
        if thresholds is not None:
            kept &= scores >= scores.new_tensor([*thresholds, 0.0])[labels]
        self._queries = kept.nonzero()[:, 0]
        self._scores, self._labels = scores[self._queries], labels[self._queries]
        self._size, self._thing_ids = size, thing_ids
        self._overlap_threshold, self._chunk_bytes = overlap_threshold, chunk_bytes
        count = len(self._queries)
        self._won, self._seen, self._own = (torch.zeros(count, dtype=torch.int64) for _ in range(3))
        self._maps: MapList = [] if maps is None else maps

    def add(self, mask_logits: Tensor) -> list[int]:
        """Add the next frame: (Q, h, w), in the order of slots; the slots that win pixels in it."""
        count = len(self._queries)
        owner = np.zeros(self._size.output, np.int16)  # 1 + the query that wins a pixel inside of its mask
        for start, stop, probability in _probabilities(mask_logits[self._queries], self._size, self._chunk_bytes):
            best = (probability * self._scores[:, None, None]).max(dim=0).indices
            inside = probability.gather(0, best[None])[0] >= 0.5
            self._won += torch.bincount(best.flatten(), minlength=count).cpu()
            self._seen += torch.bincount(best[inside], minlength=count).cpu()
            self._own += (probability >= 0.5).flatten(1).sum(dim=1).cpu()
            owner[start:stop] = torch.where(inside, best + 1, 0).cpu().numpy()
        self._maps.append(zlib.compress(owner.tobytes(), 1))
        seen = np.unique(owner)
        return self._queries.cpu()[torch.from_numpy(seen[seen > 0] - 1).long()].tolist()

    def result(self) -> tuple[Tensor, list[TubeSegment]]:
        """(T, H, W) int32 segment ids on the CPU, 0 where there is none, and the segments in the order of their ids."""
        segments, segment_of_slot = self.segments()
        maps = [self.frame(number, segment_of_slot) for number in range(len(self._maps))]
        return torch.from_numpy(np.stack(maps)), segments

    def segments(self) -> tuple[list[TubeSegment], dict[int, int]]:
        """The segments in the order of their ids, and the id of the segment of each slot that has one."""
        segments, segment_of_query = self._merge()
        pairs = zip(self._queries.tolist(), segment_of_query, strict=True)
        return segments, {slot: id_ for slot, id_ in pairs if id_}

    def frame(self, number: int, segment_of_slot: Mapping[int, int]) -> np.ndarray:
        """(H, W) int32 segment ids of a frame, from 0, by what `segments` says."""
        ids = np.array([0, *(segment_of_slot.get(slot, 0) for slot in self._queries.tolist())], np.int32)
        owner = np.frombuffer(zlib.decompress(self._maps[number]), np.int16)
        return ids[owner].reshape(self._size.output)

    def _merge(self) -> tuple[list[TubeSegment], list[int]]:
        """The segments, and the id of the segment of each kept query (0: none)."""
        segments: list[TubeSegment] = []
        stuff: dict[int, int] = {}  # class -> id of its segment
        segment_of_query = []
        areas = zip(self._won.tolist(), self._seen.tolist(), self._own.tolist(), strict=True)
        for label, (won, seen, own) in zip(self._labels.tolist(), areas, strict=True):
            if not (won and seen and own) or won / own < self._overlap_threshold:
                segment_of_query.append(0)
                continue
            is_thing = label in self._thing_ids
            id_ = len(segments) + 1 if is_thing else stuff.setdefault(label, len(segments) + 1)
            if id_ > len(segments):
                segments.append(TubeSegment(id_, label, is_thing))
            segment_of_query.append(id_)
        return segments, segment_of_query


class InstanceTubes:
    """Instance segmentation of a video: the best (query, class) pairs, scored by class probability alone.

    Args:
        class_logits: (Q, C + 1) voted log-probabilities, void last.
        size: of every frame.
        chunk_bytes: of upsampled masks that are held at a time.
        max_instances: number of pairs.

    Attributes:
        scores, labels: (N,), N pairs.
    """

    def __init__(self, class_logits: Tensor, size: FrameSize, chunk_bytes: int, max_instances: int = MAX_TUBES) -> None:
        probabilities = class_logits.float().softmax(dim=-1)[:, :-1]
        classes = probabilities.shape[1]
        self.scores, index = probabilities.flatten().topk(min(max_instances, probabilities.numel()), sorted=False)
        self._queries, self.labels = index // classes, index % classes
        self._size, self._chunk_bytes = size, chunk_bytes

    def add(self, mask_logits: Tensor) -> Tensor:
        """Masks of the next frame: logits (Q, h, w), in the order of slots -> (N, H, W) bool on the CPU."""
        size = self._size
        masks = MaskUpsampler(mask_logits[self._queries], size.padded, size.image, size.output)
        rows = [masks.band(*band).cpu() > 0 for band in bands(masks.widest, len(masks), self._chunk_bytes)]
        return torch.cat(rows, dim=1)


class SemanticTubes:
    """Semantic segmentation of a video: the class with the largest sum of class probability times mask probability.

    Args:
        class_logits: (Q, C + 1) voted log-probabilities, void last.
        size: of every frame.
        chunk_bytes: of upsampled masks, or of class scores, that are held at a time.
    """

    def __init__(self, class_logits: Tensor, size: FrameSize, chunk_bytes: int) -> None:
        self._probabilities = class_logits.float().softmax(dim=-1)[:, :-1].T.contiguous()
        self._size = size
        # There may be far more classes than masks; a chunk must hold either.
        self._chunk_bytes = max(1, chunk_bytes * class_logits.shape[0] // max(class_logits.shape))

    def add(self, mask_logits: Tensor) -> Tensor:
        """Labels of the next frame: logits (Q, h, w), in the order of slots -> (H, W) int64 on the CPU."""
        labels = torch.empty(self._size.output, dtype=torch.int64)
        for start, stop, probability in _probabilities(mask_logits, self._size, self._chunk_bytes):
            scores = self._probabilities @ probability.flatten(1)
            labels[start:stop] = largest(scores)[1].view(probability.shape[1:]).cpu()
        return labels


def _probabilities(mask_logits: Tensor, size: FrameSize, chunk_bytes: int) -> Iterator[tuple[int, int, Tensor]]:
    """Bands of mask probabilities (start, stop, (Q, rows, W)) for the result; their sigmoid is that of the image."""
    masks = MaskUpsampler(mask_logits, size.padded, size.image, size.image)
    weights = resize_matrix(size.image[0], size.output[0])
    ratio = -(-size.image[0] // size.output[0])  # rows of masks to a row of the result
    width = max(size.padded[1], size.output[1]) * ratio
    for start, stop in bands((size.output[0], width), len(masks), chunk_bytes):
        if size.output[0] == size.image[0]:
            rows = floored_sigmoid(masks.band(start, stop))
        else:
            first, last = support(weights[start:stop])
            probability = floored_sigmoid(masks.band(first, last))
            rows = weights[start:stop, first:last].to(probability.device) @ probability
        yield start, stop, resize_columns(rows, size.output[1])
