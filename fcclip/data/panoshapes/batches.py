"""Batches for contrastive training: image-caption pairs, laid side by side in mosaics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from fcclip.data.panoshapes.classes import CLASSES, ShapesClass
from fcclip.data.panoshapes.crops import SCENE_SIDE, Pair, crop_pair
from fcclip.data.panoshapes.scene import Scene, render_scene

CROWD = (5, 9)  # objects a scene: more than in the dataset, so that a scene yields many crops


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
class MosaicPlan:
    """What a batch is made of.

    Attributes:
        side: of a mosaic, pixels.
        counts: tiles per row -> number of such mosaics.
        fresh: new scenes per batch.
        pool: the latest scenes, from which crops are cut; each scene serves `pool / fresh` batches.
    """

    side: int = 192
    counts: dict[int, int] = field(default_factory=lambda: {3: 5, 2: 9})
    fresh: int = 6
    pool: int = 72


class PairBatches(IterableDataset[PairBatch]):
    """An endless stream of batches; batch `n` depends on the seed and on `n` alone, so that a run can be resumed.

    A convolutional CLIP reads small tiles side by side at the cost of one picture. What a tile has around it is then
    other tiles rather than zero padding, so the features of a place learn to tell what is there, whatever is beside
    it, as pooling over masks needs it.

    Args:
        seed: of the world that is seen.
        start: number of the first batch.
        plan: the sizes.
        classes: what occurs in the scenes.
    """

    def __init__(
        self, seed: int, start: int = 0, plan: MosaicPlan | None = None, classes: Sequence[ShapesClass] = CLASSES
    ) -> None:
        self.seed = seed
        self.start = start
        self.plan = plan or MosaicPlan()
        self.classes = classes

    def __iter__(self) -> Iterator[PairBatch]:
        cv2.setNumThreads(1)
        plan, number = self.plan, self.start
        scenes = [self._scene(index) for index in range(number * plan.fresh, number * plan.fresh + plan.pool)]
        while True:
            yield self._batch(np.random.default_rng([self.seed, 1, number]), scenes)
            first = plan.pool + number * plan.fresh
            scenes = scenes[plan.fresh :] + [self._scene(index) for index in range(first, first + plan.fresh)]
            number += 1

    def _scene(self, index: int) -> Scene:
        rng = np.random.default_rng([self.seed, 0, index])
        return render_scene(rng, SCENE_SIDE, SCENE_SIDE, self.classes, objects=CROWD)

    def _batch(self, rng: np.random.Generator, scenes: list[Scene]) -> PairBatch:
        sizes = [(grid, count) for grid, count in self.plan.counts.items()]
        sides = [self.plan.side // grid for grid, count in sizes for _ in range(count * grid**2)]
        pairs = self._pairs(rng, scenes, sides)
        mosaics, at = [], 0
        for grid, count in sizes:
            tiles = pairs[at : at + count * grid**2]
            mosaics.append(Mosaics(_lay_out([pair.image for pair in tiles], grid), grid))
            at += len(tiles)
        return PairBatch(mosaics, [pair.caption for pair in pairs])

    def _pairs(self, rng: np.random.Generator, scenes: list[Scene], sides: list[int]) -> list[Pair]:
        """A pair for each side. Every class occurs once before one occurs twice: no caption fits two pictures."""
        places: dict[int, list[tuple[int, int]]] = {}
        for number, scene in enumerate(scenes):
            for order, segment in enumerate(scene.segments):
                places.setdefault(segment.category, []).append((number, order))
        pairs: list[Pair] = []
        while len(pairs) < len(sides):
            for category in rng.permutation(sorted(places)):
                number, order = places[category][rng.integers(len(places[category]))]
                scene = scenes[number]
                pair = crop_pair(rng, scene, scene.segments[order], sides[len(pairs)], self.classes)
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
