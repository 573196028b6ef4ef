"""Batches for contrastive training: image-caption pairs, laid side by side in mosaics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from fcclip.data.panoshapes.crops import FILL, SCENE_SIDE, Pair, crop_pair
from fcclip.data.panoshapes.scene import Scene, Segment, render_scene


@dataclass(frozen=True)
class Mosaics:
    """Pictures of square tiles, each tile a crop with its own caption.

    Attributes:
        images: (n, 3, S, S) uint8, RGB.
        grid: tiles per row and column of each picture.
    """

    images: Tensor
    grid: int


@dataclass(frozen=True)
class PairBatch:
    """Mosaics of one or more kinds, and the captions of their tiles: mosaic by mosaic, row by row."""

    mosaics: list[Mosaics]
    captions: list[str]


@dataclass(frozen=True)
class Phase:
    """What the batches of a part of the training are made of.

    Attributes:
        share: of all batches.
        mosaics: by kind the side of a tile (pixels), the tiles per row, and the number of such mosaics in a batch.
        fill: range of the size of an object in its tile, as a share of the tile's side.
    """

    share: float
    mosaics: tuple[tuple[int, int, int], ...]
    fill: tuple[float, float] = FILL


# Large objects in pictures of their own are learned several times faster than objects among other tiles, so they come
# first. Tiles of 56 and 112 pixels do not end where the strides of the network do, as objects in scenes do not.
CURRICULUM = (
    Phase(0.55, ((64, 1, 81),), fill=(0.8, 1.0)),
    Phase(0.45, ((56, 4, 2), (64, 3, 3), (112, 2, 6))),
)
# Objects of the sizes that they have in scenes, in larger tiles.
TILES = (Phase(1.0, ((96, 2, 4), (112, 2, 4), (144, 2, 4)), fill=(0.6, 1.0)),)


class HasShare(Protocol):
    """A part of a training."""

    @property
    def share(self) -> float:
        """Of all batches."""


SomePhase = TypeVar("SomePhase", bound=HasShare)


def phase_of_batch(phases: Sequence[SomePhase], batches: int, number: int) -> SomePhase:
    """The phase in which batch `number` of `batches` lies."""
    end = 0.0
    for phase in phases:
        end += phase.share
        if number < round(end * batches):
            return phase
    return phases[-1]


@dataclass(frozen=True)
class Plan:
    """A stream of batches.

    Attributes:
        batches: their number.
        seed: of the world that is seen.
        phases: one after the other; their shares add up to 1.
        fresh: new scenes per batch.
        pool: the latest scenes, from which crops are cut; each scene serves `pool / fresh` batches.
    """

    batches: int
    seed: int = 0
    phases: tuple[Phase, ...] = CURRICULUM
    fresh: int = 6
    pool: int = 72

    def phase(self, number: int) -> Phase:
        """The phase of a batch."""
        return phase_of_batch(self.phases, self.batches, number)

    def stream(self, start: int = 0) -> PairBatches:
        """The batches from number `start` on."""
        return PairBatches(self, start)


class PairBatches(IterableDataset[PairBatch]):
    """The batches of a plan; number `n` depends on the plan and on `n` alone, so that a run can be resumed.

    A convolutional CLIP reads small tiles side by side at the cost of one picture. What a tile has around it is then
    other tiles rather than zero padding, so the features of a place learn to tell what is there, whatever is beside
    it, as pooling over masks needs it.

    Args:
        plan: what they are made of.
        start: number of the first batch.
    """

    def __init__(self, plan: Plan, start: int = 0) -> None:
        self.plan = plan
        self.start = start

    def __iter__(self) -> Iterator[PairBatch]:
        plan = self.plan
        begin = self.start * plan.fresh
        scenes = [self._scene(index) for index in range(begin, begin + plan.pool)]
        for number in range(self.start, plan.batches):
            yield self._batch(np.random.default_rng([plan.seed, 1, number]), scenes, plan.phase(number))
            first = plan.pool + number * plan.fresh
            scenes = scenes[plan.fresh :] + [self._scene(index) for index in range(first, first + plan.fresh)]

    def _scene(self, index: int) -> Scene:
        return render_scene(np.random.default_rng([self.plan.seed, 0, index]), SCENE_SIDE, SCENE_SIDE)

    def _batch(self, rng: np.random.Generator, scenes: list[Scene], phase: Phase) -> PairBatch:
        sides = [side for side, grid, count in phase.mosaics for _ in range(count * grid**2)]
        pairs = _pairs(rng, scenes, sides, phase.fill)
        mosaics, at = [], 0
        for _, grid, count in phase.mosaics:
            tiles = pairs[at : at + count * grid**2]
            mosaics.append(Mosaics(_lay_out([pair.image for pair in tiles], grid), grid))
            at += len(tiles)
        return PairBatch(mosaics, [pair.caption for pair in pairs])


def _pairs(rng: np.random.Generator, scenes: list[Scene], sides: list[int], fill: tuple[float, float]) -> list[Pair]:
    """A pair for each side. Every class occurs once before one occurs twice, so that no caption fits two pictures."""
    places: dict[int, list[tuple[Scene, Segment]]] = {}
    for scene in scenes:
        for segment in scene.segments:
            places.setdefault(segment.category, []).append((scene, segment))
    pairs: list[Pair] = []
    while len(pairs) < len(sides):
        for category in rng.permutation(sorted(places)).tolist():
            scene, segment = places[category][rng.integers(len(places[category]))]
            pair = crop_pair(rng, scene, segment, sides[len(pairs)], fill=fill)
            if pair is not None:
                pairs.append(pair)
            if len(pairs) == len(sides):
                break
    return pairs


def _lay_out(tiles: list[np.ndarray], grid: int) -> Tensor:
    """Tiles (s, s, 3), row by row, mosaic by mosaic -> (n, 3, grid * s, grid * s) uint8."""
    stacked = np.stack(tiles).reshape(-1, grid, grid, *tiles[0].shape)  # n, row, column, y, x, channel
    n, _, _, side, _, channels = stacked.shape
    whole = stacked.transpose(0, 5, 1, 3, 2, 4).reshape(n, channels, grid * side, grid * side)
    return torch.from_numpy(np.ascontiguousarray(whole))
