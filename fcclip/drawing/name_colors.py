"""Colours that belong to names: a name has the same colour in every vocabulary, unless another class is too near."""

from __future__ import annotations

import math
import re
import zlib
from functools import lru_cache

import numpy as np

from fcclip.drawing.colors import GOLDEN_ANGLE, PALETTE_TONES, RGB, oklch_to_rgb
from fcclip.drawing.style import Palette

CANDIDATES = 32  # colours that are tried for a name
LEAST_DISTANCE = 0.03  # in OKLab, between any two classes where there is room
MOST_DISTANCE = 0.14  # is enough for any
DISTANCE_OF_ONE = 0.42  # is divided by the root of the number of classes
LIGHTNESS_SHARE = 0.5  # of lightness in a distance: hues are told apart more easily where a photograph shines through
# Lightness, chroma and hue in degrees (OKLCH) of what colours are called.
COLOR_WORDS = {
    "red": (0.60, 0.22, 27),
    "crimson": (0.52, 0.20, 20),
    "maroon": (0.40, 0.14, 22),
    "orange": (0.73, 0.17, 55),
    "brown": (0.47, 0.09, 55),
    "beige": (0.88, 0.05, 85),
    "tan": (0.76, 0.08, 75),
    "gold": (0.80, 0.15, 88),
    "golden": (0.80, 0.15, 88),
    "yellow": (0.91, 0.18, 103),
    "olive": (0.57, 0.11, 110),
    "lime": (0.83, 0.22, 130),
    "green": (0.62, 0.18, 145),
    "teal": (0.57, 0.10, 190),
    "turquoise": (0.79, 0.13, 185),
    "cyan": (0.85, 0.14, 200),
    "blue": (0.53, 0.21, 262),
    "navy": (0.34, 0.13, 265),
    "violet": (0.58, 0.21, 295),
    "purple": (0.50, 0.20, 305),
    "magenta": (0.65, 0.26, 330),
    "pink": (0.80, 0.13, 355),
    "white": (0.97, 0.0, 0),
    "silver": (0.82, 0.01, 260),
    "grey": (0.62, 0.01, 260),
    "gray": (0.62, 0.01, 260),
    "black": (0.25, 0.01, 260),
    # What everybody knows the colour of.
    "sky": (0.76, 0.11, 235),
    "water": (0.60, 0.12, 240),
    "sea": (0.60, 0.12, 240),
    "grass": (0.70, 0.17, 135),
    "tree": (0.50, 0.12, 148),
    "snow": (0.86, 0.05, 235),
    "sand": (0.84, 0.07, 85),
    "road": (0.55, 0.02, 300),
}
# A name with a colour word may have these besides: (lightness, hue in degrees) to add.
NEARBY = [(lightness, hue) for hue in (0, 9, -9) for lightness in (0.0, -0.08, 0.08, -0.15, 0.15)]
WORD = re.compile(r"[a-z]+")
# Okabe and Ito, "Color Universal Design", 2008; a little light in its black, so that shades of it differ.
COLOR_BLIND: tuple[RGB, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (34, 34, 34),
)
TINTS = ((255, 0.0), (0, 0.45), (255, 0.55), (0, 0.25), (255, 0.3))  # (grey to mix in, its share), eight classes each


@lru_cache(maxsize=16)
def vocabulary_colors(names: tuple[str, ...], palette: Palette = "names") -> tuple[RGB, ...]:
    """A colour for every name of a vocabulary.

    Args:
        names: the classes; a name that is there twice gets two colours.
        palette: see `DrawStyle`; that for colour-blind eyes goes by position, so that few classes are told apart best.
    """
    if palette == "color-blind":
        return tuple(_color_blind(index) for index in range(len(names)))
    candidates = [_candidates(name) for name in names]
    # Names of colours choose first: others can go out of their way, they cannot.
    order = sorted(range(len(names)), key=lambda index: _color_word(names[index]) is None)
    wanted = max(LEAST_DISTANCE, min(MOST_DISTANCE, DISTANCE_OF_ONE / math.sqrt(len(names))))
    taken = np.empty((len(names), 3))
    colors: list[RGB] = [(0, 0, 0)] * len(names)
    for count, index in enumerate(order):
        points = np.array([_to_oklab(*candidate) for candidate in candidates[index]])
        gaps = _distances(points, taken[:count]).min(axis=1, initial=np.inf)
        far = np.flatnonzero(gaps >= wanted)
        chosen = int(far[0]) if far.size else int(gaps.argmax())
        taken[count] = points[chosen]
        lightness, chroma, hue = candidates[index][chosen]
        colors[index] = oklch_to_rgb(lightness, chroma, math.radians(hue))
    return tuple(colors)


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, 3) and (M, 3) points -> (N, M)."""
    squares = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1) - 2 * first @ second.T
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _candidates(name: str) -> list[tuple[float, float, float]]:
    """Lightness, chroma and hue of the colours that a name may have, the best first."""
    word = _color_word(name)
    if word is not None:
        lightness, chroma, hue = COLOR_WORDS[word]
        return [(min(0.97, max(0.2, lightness + lighter)), chroma, hue + turn) for lighter, turn in NEARBY]
    seed = zlib.crc32(name.casefold().encode())
    tones = [PALETTE_TONES[(seed + step) % len(PALETTE_TONES)] for step in range(CANDIDATES)]
    return [(*tone, (seed >> 4) % 360 + GOLDEN_ANGLE * step) for step, tone in enumerate(tones)]


def _color_word(name: str) -> str | None:
    """The first word of a name that stands for a colour; "red" of "red sky"."""
    return next((word for word in WORD.findall(name.casefold()) if word in COLOR_WORDS), None)


def _to_oklab(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    angle = math.radians(hue)
    return LIGHTNESS_SHARE * lightness, chroma * math.cos(angle), chroma * math.sin(angle)


def _color_blind(index: int) -> RGB:
    grey, share = TINTS[index // len(COLOR_BLIND) % len(TINTS)]
    red, green, blue = (round(channel + (grey - channel) * share) for channel in COLOR_BLIND[index % len(COLOR_BLIND)])
    return red, green, blue
