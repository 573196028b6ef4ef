"""Image-caption pairs for contrastive training: crops of scenes, each about one object or one kind of stuff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fcclip.data.panoshapes.captions import caption_of_stuff, caption_of_thing
from fcclip.data.panoshapes.classes import CLASSES, ShapesClass
from fcclip.data.panoshapes.scene import Scene, Segment, render_scene

SCENE_SIDE = 256  # pixels; crops of other sizes are resized from it
FILL = (0.6, 1.1)  # size of an object in its crop, as a share of the crop's side
STUFF_WINDOW = (0.2, 0.4)  # side of a crop of stuff, as a share of the scene's
STUFF_SHARE = 0.8  # of a crop of stuff
WINDOWS = 8  # places that are tried for a crop of stuff


@dataclass(frozen=True)
class Pair:
    """A square picture, (side, side, 3) uint8 RGB, its caption and the index of its class."""

    image: np.ndarray
    caption: str
    category: int


def all_pairs(
    rng: np.random.Generator, scenes: int, side: int, classes: Sequence[ShapesClass] = CLASSES
) -> Iterator[Pair]:
    """Every object and kind of stuff of some scenes, as the test of a CLIP needs them."""
    for _ in range(scenes):
        scene = render_scene(rng, SCENE_SIDE, SCENE_SIDE, classes)
        for segment in scene.segments:
            pair = crop_pair(rng, scene, segment, side, classes)
            if pair is not None:
                yield pair


def crop_pair(
    rng: np.random.Generator,
    scene: Scene,
    segment: Segment,
    side: int,
    classes: Sequence[ShapesClass] = CLASSES,
    fill: tuple[float, float] = FILL,
) -> Pair | None:
    """A crop (side, side) of one segment with its caption; None for stuff that nowhere fills a crop.

    Args:
        classes: those that the scene was rendered with.
        fill: range of the size of an object in its crop, as a share of the crop's side.
    """
    entry = classes[segment.category]
    if entry.is_thing:
        surface = _surface(scene, classes)
        window = _window_of_thing(rng, scene.ids == segment.id, fill)
        caption = caption_of_thing(rng, entry, segment, surface)
    else:
        found = _window_of_stuff(rng, scene.ids == segment.id)
        if found is None:
            return None
        window, caption = found, caption_of_stuff(rng, entry)
    return Pair(_cut(scene.image, window, side), caption, segment.category)


Window = tuple[float, float, float]  # centre x, centre y, side, in pixels


def _window_of_thing(rng: np.random.Generator, mask: np.ndarray, fill: tuple[float, float]) -> Window:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = extent / rng.uniform(*fill)
    slack = max(0.1 * extent, (side - extent) / 2)
    x, y = (columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2
    return x + rng.uniform(-slack, slack), y + rng.uniform(-slack, slack), side


def _window_of_stuff(rng: np.random.Generator, mask: np.ndarray) -> Window | None:
    for _ in range(WINDOWS):
        side = rng.uniform(*STUFF_WINDOW) * min(mask.shape)
        x, y = (rng.uniform(side / 2, length - side / 2) for length in mask.shape[::-1])
        half = side / 2
        if mask[int(y - half) : int(y + half), int(x - half) : int(x + half)].mean() >= STUFF_SHARE:
            return x, y, side
    return None


def _surface(scene: Scene, classes: Sequence[ShapesClass]) -> ShapesClass | None:
    """The stuff of the scene, if there is only one kind: then every object lies on it."""
    stuff = [classes[other.category] for other in scene.segments if not classes[other.category].is_thing]
    return stuff[0] if len(stuff) == 1 else None


def _cut(image: np.ndarray, window: Window, side: int) -> np.ndarray:
    """Resize a window of an image to (side, side); beyond the border the image is mirrored."""
    x, y, extent = window
    scale = side / extent
    matrix = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]])
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
