"""Render clips: objects that move over a scene, cross, leave and return, with the exact identity of every pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fcclip.data.panoshapes.classes import CLASSES, PATTERNS, ShapesClass
from fcclip.data.panoshapes.scene import Scene, Segment, cast_shadow, draw_light, expose, paint_regions
from fcclip.data.panoshapes.shapes import draw_sprite

FRAMES = 20
OBJECTS = (3, 5)
DIAMETER = (0.25, 0.4)  # of objects, as a share of the shorter side
SPEED = (0.012, 0.045)  # of objects, per frame, as a share of the shorter side
TURN = (-0.05, 0.05)  # of objects, radians per frame
NOISE = (2.0, 10.0)  # of the camera
HIDDEN_FRAMES = 4  # for which one object of a shot is not there


@dataclass(frozen=True)
class _Mover:
    """An object on its way.

    Attributes:
        middle: (y, x) where it is in the middle of the clip, in pixels.
        velocity: (y, x) pixels per frame.
        seed: of its looks, which stay the same.
        hidden: frames in which it is not there.
    """

    segment: Segment
    entry: ShapesClass
    diameter: float
    middle: np.ndarray
    velocity: np.ndarray
    angle: float
    turn: float
    seed: int
    hidden: range


@dataclass(frozen=True)
class _Shot:
    """A place and what moves in it."""

    image: np.ndarray
    ids: np.ndarray
    stuff: tuple[Segment, ...]
    movers: tuple[_Mover, ...]
    light: np.ndarray
    noise: float


def render_clip(
    rng: np.random.Generator,
    height: int,
    width: int,
    frames: int = FRAMES,
    classes: Sequence[ShapesClass] = CLASSES,
    cuts: Sequence[int] = (),
) -> Iterator[Scene]:
    """Render a clip of some of `classes`.

    An id is the same object, or the same stuff, in every frame; a frame lists what has a pixel in it. At every cut the
    clip goes to another place, and at every second one back to the first.

    Args:
        cuts: numbers of the frames that begin a new shot.

    Raises:
        ValueError: `classes` has no thing or no stuff.
    """
    things = [index for index, entry in enumerate(classes) if entry.is_thing]
    stuff = [index for index, entry in enumerate(classes) if not entry.is_thing]
    if not things or not stuff:
        raise ValueError("a clip needs at least one thing class and one stuff class")
    shots = [_draw_shot(rng, (height, width), frames, classes, things, stuff, 0)]
    if cuts:
        used = max(segment.id for segment in (*shots[0].stuff, *(mover.segment for mover in shots[0].movers)))
        shots.append(_draw_shot(rng, (height, width), frames, classes, things, stuff, used))
    for number in range(frames):
        place = sum(number >= cut for cut in cuts) % 2
        yield _render_frame(rng, shots[place], number, frames)


def _draw_shot(
    rng: np.random.Generator,
    size: tuple[int, int],
    frames: int,
    classes: Sequence[ShapesClass],
    things: Sequence[int],
    stuff: Sequence[int],
    first_id: int,
) -> _Shot:
    """Invent a shot whose ids begin after `first_id`."""
    image, ids, segments = paint_regions(rng, *size, stuff, classes)
    regions = tuple(replace(segment, id=segment.id + first_id) for segment in segments)
    count = int(rng.integers(OBJECTS[0], OBJECTS[1] + 1))
    hidden = int(rng.integers(count)), int(rng.integers(frames // 4, max(frames // 4 + 1, frames - HIDDEN_FRAMES)))
    movers = []
    for number in range(count):
        category = int(rng.choice(things))
        id_ = max(segment.id for segment in regions) + 1 + number
        gone = (
            range(hidden[1], hidden[1] + HIDDEN_FRAMES)
            if number == hidden[0] and frames > 2 * HIDDEN_FRAMES
            else range(0)
        )
        movers.append(_draw_mover(rng, size, classes[category], category, id_, gone))
    return _Shot(image, ids + first_id, regions, tuple(movers), draw_light(rng, *size), rng.uniform(*NOISE))


def _draw_mover(
    rng: np.random.Generator, size: tuple[int, int], entry: ShapesClass, category: int, id_: int, hidden: range
) -> _Mover:
    side = min(size)
    share = rng.uniform(*DIAMETER)
    direction, speed = rng.uniform(0, 2 * np.pi), side * rng.uniform(*SPEED)
    return _Mover(
        segment=Segment(id_, category, str(rng.choice(PATTERNS)), share),
        entry=entry,
        diameter=share * side,
        middle=rng.uniform(0.2, 0.8, 2) * size,
        velocity=speed * np.array([np.sin(direction), np.cos(direction)]),
        angle=rng.uniform(0, 2 * np.pi),
        turn=rng.uniform(*TURN),
        seed=int(rng.integers(2**31)),
        hidden=hidden,
    )


def _render_frame(rng: np.random.Generator, shot: _Shot, number: int, frames: int) -> Scene:
    image, ids = shot.image.copy(), shot.ids.copy()
    for mover in shot.movers:
        if number not in mover.hidden:
            _draw_object(image, ids, mover, number - (frames - 1) / 2)
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(shot.noise)
    present = set(np.unique(ids).tolist())
    segments = (*shot.stuff, *(mover.segment for mover in shot.movers))
    return Scene(expose(image, shot.light, noise), ids, tuple(entry for entry in segments if entry.id in present))


def _draw_object(image: np.ndarray, ids: np.ndarray, mover: _Mover, time: float) -> None:
    """Draw an object over what is there; nothing happens where it is outside of the picture."""
    looks = np.random.default_rng(mover.seed)
    striped = mover.segment.pattern == "striped"
    angle = mover.angle + mover.turn * time
    sprite = draw_sprite(looks, mover.entry.color, mover.entry.shape, striped, mover.diameter, angle)
    height, width = ids.shape
    side = len(sprite.coverage)
    top, left = (round(value) for value in mover.middle + mover.velocity * time - side / 2)
    if top >= height or left >= width or top + side <= 0 or left + side <= 0:
        return
    window = (slice(max(0, top), top + side), slice(max(0, left), left + side))
    inside = (slice(max(0, -top), height - top), slice(max(0, -left), width - left))
    cast_shadow(looks, image, sprite, top, left)
    alpha = sprite.coverage[inside][..., None]
    image[window] += alpha * (sprite.colors[inside] - image[window])
    ids[window][sprite.coverage[inside] >= 0.5] = mover.segment.id
