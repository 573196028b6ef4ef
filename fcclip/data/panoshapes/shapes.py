"""Outlines of the shapes, and objects drawn from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from fcclip.data.panoshapes.classes import COLORS

SUPERSAMPLING = 4  # an outline is filled on a grid this many times finer, then averaged
SUBPIXEL_BITS = 4  # of OpenCV's fixed-point coordinates
STRIPE_SHADE = 0.45  # brightness of dark stripes, as a share of the object's
STRIPES = 3.5  # pairs of stripes across an object

Outline = list[np.ndarray]  # contours (n, 2) in the unit circle; a point is inside if an odd number of them enclose it


@dataclass(frozen=True)
class Sprite:
    """An object on its own, in a square patch.

    Attributes:
        coverage: (s, s) float32, the share of each pixel that the object covers.
        colors: (s, s, 3) float32, RGB in 0..255, defined everywhere in the patch.
    """

    coverage: np.ndarray
    colors: np.ndarray


def draw_sprite(
    rng: np.random.Generator, color: str, shape: str, striped: bool, diameter: float, angle: float
) -> Sprite:
    """Draw one object.

    Args:
        rng: draws the exact tint, the light and the stripes.
        color, shape: keys of `COLORS` and `OUTLINES`.
        striped: light and dark stripes, else one colour.
        diameter: of the circle around the shape, pixels.
        angle: radians.
    """
    side = int(np.ceil(diameter)) + 2
    coverage = _coverage(OUTLINES[shape](), side, diameter / 2, angle)
    u, v = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32)] * 2)
    light = rng.uniform(0, 2 * np.pi)
    shade = 1 + rng.uniform(0.08, 0.25) * (np.cos(light) * u + np.sin(light) * v)
    if striped:
        across = angle + rng.uniform(0, np.pi)
        phase = STRIPES * np.pi * (np.cos(across) * u + np.sin(across) * v) + rng.uniform(0, 2 * np.pi)
        shade *= np.where(np.sin(phase) > 0, 1, STRIPE_SHADE)
    return Sprite(coverage, shade[..., None].astype(np.float32) * _tint(rng, color))


def _tint(rng: np.random.Generator, color: str) -> np.ndarray:
    """(3,) float32, RGB in 0..255, near the named colour."""
    hue, saturation, value = np.array(COLORS[color]) + rng.normal(0, (2, 8, 10))
    pixel = np.array([[[hue % 180, np.clip(saturation, 0, 255), np.clip(value, 0, 255)]]], np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def _coverage(outline: Outline, side: int, radius: float, angle: float) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    fine = side * SUPERSAMPLING
    scale = SUPERSAMPLING * radius
    # OpenCV's integer coordinates are centres of pixels, hence the half.
    contours = [
        np.rint((contour @ turn.T * scale + fine / 2 - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32) for contour in outline
    ]
    mask = np.zeros((fine, fine), np.uint8)
    cv2.fillPoly(mask, contours, 255, shift=SUBPIXEL_BITS)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def _circle(radius: float = 1.0, x: float = 0.0, y: float = 0.0, points: int = 48) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([x + radius * np.cos(t), y + radius * np.sin(t)], axis=1)


def _spokes(radii: list[float]) -> np.ndarray:
    """Corners at equal angles and the given radii."""
    t = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.array(radii)[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1)


@cache
def _disc() -> Outline:
    return [_circle(0.85)]


@cache
def _ring() -> Outline:
    return [_circle(0.92), _circle(0.52)]


@cache
def _square() -> Outline:
    return [_spokes([0.98] * 4)]


@cache
def _triangle() -> Outline:
    return [_spokes([1.0] * 3)]


@cache
def _star() -> Outline:
    return [_spokes([1.0, 0.42] * 5)]


@cache
def _cross() -> Outline:
    a, b = 0.3, 0.93
    quarter = np.array([(a, a), (b, a), (b, -a)])
    turns = [np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) for t in np.arange(4) * np.pi / 2]
    return [np.concatenate([quarter @ turn.T for turn in turns])]


@cache
def _heart() -> Outline:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [np.stack([x, -1 - y], axis=1) / 17.4]


@cache
def _arrow() -> Outline:
    return [np.array([(-0.95, -0.22), (0.1, -0.22), (0.1, -0.68), (1, 0), (0.1, 0.68), (0.1, 0.22), (-0.95, 0.22)])]


@cache
def _flower() -> Outline:
    t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    radius = 0.68 + 0.3 * np.cos(6 * t)
    return [radius[:, None] * np.stack([np.cos(t), np.sin(t)], axis=1), _circle(0.2, points=20)]


@cache
def _bolt() -> Outline:
    upper, lower = [(0.5, -0.86), (0.15, -0.98), (-0.6, 0.15)], [(-0.1, 0.15), (-0.25, 0.97), (0.6, -0.25)]
    return [np.array([*upper, *lower, (0.1, -0.25)])]


@cache
def _crescent() -> Outline:
    outer, inner = np.linspace(0.8, 2 * np.pi - 0.8, 44), np.linspace(2 * np.pi - 1.13, 1.13, 36)
    arc = 0.97 * np.stack([np.cos(outer), np.sin(outer)], axis=1)
    bite = np.stack([0.34 + 0.77 * np.cos(inner), 0.77 * np.sin(inner)], axis=1)
    return [0.96 * (np.concatenate([arc, bite]) + np.array([0.1, 0]))]


@cache
def _hourglass() -> Outline:
    return [np.array([(-0.68, -0.72), (0.68, -0.72), (0.1, 0), (0.68, 0.72), (-0.68, 0.72), (-0.1, 0)])]


OUTLINES: dict[str, Callable[[], Outline]] = {
    "circle": _disc,
    "ring": _ring,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "arrow": _arrow,
    "flower": _flower,
    "bolt": _bolt,
    "crescent": _crescent,
    "hourglass": _hourglass,
}
