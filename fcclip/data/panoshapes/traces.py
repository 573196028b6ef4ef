"""Batches of pictures whose captions come with traces: a few patches that the words are about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from fcclip.data.panoshapes.batches import phase_of_batch
from fcclip.data.panoshapes.captions import caption_of_scene, caption_of_stuff, caption_of_thing
from fcclip.data.panoshapes.classes import CLASSES, FEW_CLASSES, ShapesClass
from fcclip.data.panoshapes.scene import Scene, Segment, render_scene

LEAST_COVERED = 0.5  # share of a patch's pixels that belong to the segment it is a part of
LEAST_PATCHES = 3  # a segment of fewer patches is not told of
LEAST_INSIDE = 0.7  # share of an object that lies in a window which tells of it
WORLDS = {"all": CLASSES, "few": FEW_CLASSES}


@dataclass(frozen=True)
class TracePhase:
    """What the batches of a part of the training are made of.

    Attributes:
        share: of all batches.
        side: of the windows of scenes that are the pictures, in pixels; the scene's for whole scenes.
        pictures: per batch.
        points: lengths of traces, of which the longest is a multiple; each occurs equally often.
        centred: whether a window has one of the scene's objects in its middle, else it lies anywhere.
    """

    share: float
    side: int
    pictures: int
    points: tuple[int, ...] = (1, 2, 4, 8)
    centred: bool = False


@dataclass(frozen=True)
class TracePlan:
    """A stream of batches.

    Attributes:
        batches: their number.
        phases: one after the other; their shares add up to 1.
        seed: of the world that is seen.
        world: which classes occur, a key of `WORLDS`.
        side: of the scenes, in pixels.
        patch: side of a patch of the model, in pixels.
        fresh: new scenes per batch.
        pool: the latest scenes, of which windows are cut.
    """

    batches: int
    phases: tuple[TracePhase, ...]
    seed: int = 0
    world: str = "few"
    side: int = 160
    patch: int = 8
    fresh: int = 1
    pool: int = 96

    def phase(self, number: int) -> TracePhase:
        """The phase of a batch."""
        return phase_of_batch(self.phases, self.batches, number)

    def stream(self, start: int = 0) -> TraceBatches:
        """The batches from number `start` on."""
        return TraceBatches(self, start)


@dataclass(frozen=True)
class TraceBatch:
    """Pictures with a caption each, and captions of what is at some of their patches.

    Attributes:
        images: (n, 3, S, S) uint8, RGB.
        captions: of the pictures, n.
        class_captions: of the classes that occur, k; one caption fits all traces of its class.
        pictures: (m,) int64, the picture of each trace.
        patches: (m, p) int64, the patches of each trace, row by row in its picture; a short trace is repeated.
        classes: (m,) int64, which of the k captions is that of each trace.
    """

    images: Tensor
    captions: list[str]
    class_captions: list[str]
    pictures: Tensor
    patches: Tensor
    classes: Tensor


class TraceBatches(IterableDataset[TraceBatch]):
    """The batches of a plan; number `n` depends on the plan and on `n` alone, so that a run can be resumed.

    Data of this kind exists for photographs: people who describe a picture while they point at what they speak of
    (Pont-Tuset et al., "Connecting Vision and Language with Localized Narratives", ECCV 2020).

    Args:
        plan: what they are made of.
        start: number of the first batch.
    """

    def __init__(self, plan: TracePlan, start: int = 0) -> None:
        self.plan = plan
        self.start = start
        self.classes = WORLDS[plan.world]

    def __iter__(self) -> Iterator[TraceBatch]:
        plan = self.plan
        begin = self.start * plan.fresh
        scenes = [self._scene(index) for index in range(begin, begin + plan.pool)]
        for number in range(self.start, plan.batches):
            yield self._batch(np.random.default_rng([plan.seed, 3, number]), scenes, plan.phase(number))
            first = plan.pool + number * plan.fresh
            scenes = scenes[plan.fresh :] + [self._scene(index) for index in range(first, first + plan.fresh)]

    def _scene(self, index: int) -> Scene:
        generator = np.random.default_rng([self.plan.seed, 2, index])
        return render_scene(generator, self.plan.side, self.plan.side, self.classes)

    def _batch(self, rng: np.random.Generator, scenes: Sequence[Scene], phase: TracePhase) -> TraceBatch:
        chosen = rng.choice(len(scenes), phase.pictures, replace=False)
        windows = [cut_window(rng, scenes[index], phase, self.classes) for index in chosen.tolist()]
        captions: list[str] = []
        pictures: list[int] = []
        patches: list[np.ndarray] = []
        traced: dict[int, list[tuple[int, Segment]]] = {}  # by category: numbers of the traces, and their segments
        for picture, window in enumerate(windows):
            found = segment_patches(window, self.plan.patch)
            captions.append(caption_of_scene(rng, [self.classes[segment.category].name for segment, _ in found]))
            for segment, places in found:
                traced.setdefault(segment.category, []).append((len(pictures), segment))
                points = int(rng.choice(phase.points))
                pictures.append(picture)
                patches.append(np.tile(rng.choice(places, points), max(phase.points) // points))
        classes = np.empty(len(pictures), np.int64)
        class_captions = []
        for number, (category, traces) in enumerate(traced.items()):
            classes[[trace for trace, _ in traces]] = number
            class_captions.append(self._caption(rng, self.classes[category], [segment for _, segment in traces]))
        images = torch.from_numpy(np.stack([window.image.transpose(2, 0, 1) for window in windows]))
        where, which = torch.from_numpy(np.array(pictures)), torch.from_numpy(np.stack(patches))
        return TraceBatch(images, captions, class_captions, where, which, torch.from_numpy(classes))

    @staticmethod
    def _caption(rng: np.random.Generator, entry: ShapesClass, segments: Sequence[Segment]) -> str:
        """What is true of all segments of a class; of a single one its size or pattern may be told as well."""
        if not entry.is_thing:
            return caption_of_stuff(rng, entry)
        return caption_of_thing(rng, entry, segments[0] if len(segments) == 1 else None)


def cut_window(rng: np.random.Generator, scene: Scene, phase: TracePhase, classes: Sequence[ShapesClass]) -> Scene:
    """A square part of a scene, turned by quarters and mirrored at random; objects that it cuts are not told of."""
    height, width = scene.ids.shape
    top, left = (int(rng.integers(0, length - phase.side + 1)) for length in (height, width))
    things = [segment.id for segment in scene.segments if classes[segment.category].is_thing]
    if phase.centred and things:
        rows, columns = np.nonzero(scene.ids == rng.choice(things))
        top, left = (
            int(np.clip((axis.min() + axis.max() - phase.side) // 2 + rng.integers(-4, 5), 0, length - phase.side))
            for axis, length in ((rows, height), (columns, width))
        )
    window = (slice(top, top + phase.side), slice(left, left + phase.side))
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    image, ids = (np.rot90(values[window], turns) for values in (scene.image, scene.ids))
    step = -1 if mirrored else 1
    sizes, inside = (np.bincount(some.ravel(), minlength=scene.ids.max() + 1) for some in (scene.ids, ids))
    told = tuple(
        segment
        for segment in scene.segments
        if segment.id not in things or inside[segment.id] >= LEAST_INSIDE * sizes[segment.id]
    )
    return Scene(np.ascontiguousarray(image[:, ::step]), np.ascontiguousarray(ids[:, ::step]), told)


def segment_patches(scene: Scene, patch: int) -> list[tuple[Segment, np.ndarray]]:
    """Segments with the numbers of their patches, row by row; those that have hardly any are left out."""
    height, width = (length // patch for length in scene.ids.shape)
    cells = scene.ids[: height * patch, : width * patch].reshape(height, patch, width, patch)
    found = []
    for segment in scene.segments:
        covered = (cells == segment.id).mean(axis=(1, 3)).ravel()
        places = np.flatnonzero(covered >= LEAST_COVERED)
        if len(places) >= LEAST_PATCHES:
            found.append((segment, places))
    return found
