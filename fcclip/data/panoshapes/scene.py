"""Render a scene: regions of stuff, objects on them, and the exact segment of every pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fcclip.data.panoshapes.classes import CLASSES, PATTERNS, ShapesClass
from fcclip.data.panoshapes.shapes import Sprite, draw_sprite
from fcclip.data.panoshapes.textures import paint_texture, smooth_noise

DIAMETER = (0.3, 0.5)  # of objects, as a share of the shorter side
OBJECTS = (2, 5)
REGIONS = (1, 3)
LEAST_VISIBLE = 0.8  # share of an object, of its own size, that others leave to be seen
LEAST_INSIDE = 0.7  # share of an object that lies inside the image
LEAST_STUFF = 0.04  # share of the image; a smaller region of stuff is given to the first one
TRIES = 12  # places that are tried for an object before it is left out
SHADOW = 0.45  # how much a shadow darkens


@dataclass(frozen=True)
class Segment:
    """One object, or all of one kind of stuff.

    Attributes:
        id: its value in the scene's map, from 1.
        category: index into the classes that the scene was rendered with.
        pattern: "plain" or "striped" for a thing, "" for stuff.
        size: diameter as a share of the image's shorter side; 1 for stuff.
    """

    id: int
    category: int
    pattern: str = ""
    size: float = 1.0


@dataclass(frozen=True)
class Scene:
    """A picture with its ground truth.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        ids: (H, W) int32; every pixel has the id of a segment.
        segments: every segment has at least one pixel.
    """

    image: np.ndarray
    ids: np.ndarray
    segments: tuple[Segment, ...]


def render_scene(
    rng: np.random.Generator,
    height: int,
    width: int,
    classes: Sequence[ShapesClass] = CLASSES,
    objects: tuple[int, int] = OBJECTS,
    diameter: tuple[float, float] = DIAMETER,
) -> Scene:
    """Render a scene of some of `classes`.

    A pixel belongs to the topmost object that covers at least half of it, else to the stuff below. The same state of
    `rng` and arguments give the same scene.

    Args:
        objects: least and greatest number of objects tried; one that finds no free place is left out.
        diameter: least and greatest diameter of objects, as a share of the shorter side.

    Raises:
        ValueError: `classes` has no thing or no stuff.
    """
    things = [index for index, entry in enumerate(classes) if entry.is_thing]
    stuff = [index for index, entry in enumerate(classes) if not entry.is_thing]
    if not things or not stuff:
        raise ValueError("a scene needs at least one thing class and one stuff class")
    canvas = _Canvas(*paint_regions(rng, height, width, stuff, classes))
    for _ in range(rng.integers(objects[0], objects[1] + 1)):
        category = int(rng.choice(things))
        _place_object(rng, canvas, classes[category], category, rng.uniform(*diameter))
    return Scene(_finish(rng, canvas.image), canvas.ids, tuple(canvas.segments))


@dataclass
class _Canvas:
    """A scene in the making; `areas` holds the full size in pixels of every object, by id."""

    image: np.ndarray
    ids: np.ndarray
    segments: list[Segment]

    def __post_init__(self) -> None:
        self.areas: dict[int, int] = {}


def paint_regions(
    rng: np.random.Generator, height: int, width: int, stuff: Sequence[int], classes: Sequence[ShapesClass]
) -> tuple[np.ndarray, np.ndarray, list[Segment]]:
    """The stuff of a scene: its picture (H, W, 3) float32, ids (H, W) int32 and segments."""
    count = min(len(stuff), int(rng.integers(REGIONS[0], REGIONS[1] + 1)))
    kinds = [int(kind) for kind in rng.choice(stuff, count, replace=False)]
    owner = _divide(rng, height, width, count)
    sizes = np.bincount(owner.ravel(), minlength=count)
    for region in np.flatnonzero(sizes < LEAST_STUFF * owner.size):
        owner[owner == region] = sizes.argmax()
    image = np.empty((height, width, 3), np.float32)
    ids = np.zeros((height, width), np.int32)
    segments: list[Segment] = []
    for region in np.unique(owner):
        mask = owner == region
        texture = paint_texture(rng, classes[kinds[region]].name, height, width)
        image[mask] = texture[mask]
        segments.append(Segment(len(segments) + 1, kinds[region]))
        ids[mask] = segments[-1].id
    return image, ids, segments


def _divide(rng: np.random.Generator, height: int, width: int, count: int) -> np.ndarray:
    """(H, W) number of the nearest of `count` random centres, along wavy borders."""
    centres = rng.uniform(0.1, 0.9, (count, 2))
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None] + 0.04 * smooth_noise(rng, height, width, 50)
    x = np.linspace(0, 1, width, dtype=np.float32)[None] + 0.04 * smooth_noise(rng, height, width, 50)
    distances = [(y - row) ** 2 + (x - column) ** 2 for row, column in centres.astype(np.float32)]
    return np.argmin(distances, axis=0)


def _place_object(rng: np.random.Generator, canvas: _Canvas, entry: ShapesClass, category: int, size: float) -> None:
    """Draw an object where it hides no other one too much; if no such place is found, leave it out."""
    height, width = canvas.ids.shape
    pattern = str(rng.choice(PATTERNS))
    diameter = size * min(height, width)
    sprite = draw_sprite(rng, entry.color, entry.shape, pattern == "striped", diameter, rng.uniform(0, 2 * np.pi))
    side = len(sprite.coverage)
    area = int(np.count_nonzero(sprite.coverage >= 0.5))
    for _ in range(TRIES):
        top = int(rng.integers(-side // 4, height - 3 * side // 4))
        left = int(rng.integers(-side // 4, width - 3 * side // 4))
        window = (slice(max(0, top), top + side), slice(max(0, left), left + side))
        inside = (slice(max(0, -top), height - top), slice(max(0, -left), width - left))
        mask = sprite.coverage[inside] >= 0.5
        if np.count_nonzero(mask) >= LEAST_INSIDE * area and _leaves_visible(canvas, window, mask):
            segment = Segment(max(entry.id for entry in canvas.segments) + 1, category, pattern, size)
            canvas.areas[segment.id] = area
            cast_shadow(rng, canvas.image, sprite, top, left)
            alpha = sprite.coverage[inside][..., None]
            canvas.image[window] += alpha * (sprite.colors[inside] - canvas.image[window])
            canvas.ids[window][mask] = segment.id
            canvas.segments.append(segment)
            return


def _leaves_visible(canvas: _Canvas, window: tuple[slice, slice], mask: np.ndarray) -> bool:
    """Whether everything below stays visible enough: objects in most of their size, stuff at all."""
    hidden = np.bincount(canvas.ids[window][mask], minlength=len(canvas.segments) + 1)
    for id_ in np.flatnonzero(hidden).tolist():
        visible = np.count_nonzero(canvas.ids == id_) - hidden[id_]
        least = LEAST_VISIBLE * canvas.areas[id_] if id_ in canvas.areas else LEAST_STUFF / 2 * canvas.ids.size
        if visible < least:
            return False
    return True


def cast_shadow(rng: np.random.Generator, image: np.ndarray, sprite: Sprite, top: int, left: int) -> None:
    """Darken the surroundings of an object softly, a little to one side of it."""
    side = len(sprite.coverage)
    margin = max(2, side // 8)
    soft = cv2.copyMakeBorder(sprite.coverage, margin, margin, margin, margin, cv2.BORDER_CONSTANT)
    soft = cv2.blur(soft, (margin, margin))
    down, right = rng.integers(-margin // 2, margin // 2 + 1, 2)
    top, left = top - margin + int(down), left - margin + int(right)
    height, width = image.shape[:2]
    window = (slice(max(0, top), max(0, top + len(soft))), slice(max(0, left), max(0, left + len(soft))))
    inside = (slice(max(0, -top), height - top), slice(max(0, -left), width - left))
    image[window] *= 1 - SHADOW * soft[inside][..., None]


def _finish(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light that changes across the scene, and sensor noise; (H, W, 3) float32 -> uint8."""
    light = draw_light(rng, *image.shape[:2])
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(2, 10)
    return expose(image, light, noise)


def draw_light(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 1) float32 brightness."""
    direction = rng.uniform(0, 2 * np.pi)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)[None]
    light = rng.uniform(0.85, 1.1) + rng.uniform(0, 0.15) * (np.cos(direction) * x + np.sin(direction) * y)
    return light[..., None].astype(np.float32)


def expose(image: np.ndarray, light: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The picture that a camera takes: (H, W, 3) float32 -> uint8."""
    return (image * light + noise).clip(0, 255).astype(np.uint8)
