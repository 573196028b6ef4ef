"""Colours of classes and of the objects of a class: the same in every run, and told apart at a glance."""

from __future__ import annotations

import math

RGB = tuple[int, int, int]  # 0..255

GOLDEN_ANGLE = 137.50776405003785  # degrees; successive hues stay far apart
# Lightness and chroma (OKLCH) through which the palette cycles: classes that share a hue differ in these.
PALETTE_TONES = ((0.70, 0.17), (0.56, 0.16), (0.84, 0.13), (0.48, 0.13))
# The second, third, ... object of a class: (grey to mix in, its share).
SHADES = ((255, 0.28), (0, 0.28), (255, 0.48), (0, 0.48), (255, 0.14), (0, 0.14))


def class_color(index: int) -> RGB:
    """The palette's colour of class `index`: always the same, and far from those of its neighbours."""
    lightness, chroma = PALETTE_TONES[index % len(PALETTE_TONES)]
    return oklch_to_rgb(lightness, chroma, math.radians(25 + GOLDEN_ANGLE * index))


def vary_color(color: RGB, index: int) -> RGB:
    """A shade of `color` for the `index`-th object of a class; the first object has the colour itself."""
    if index == 0:
        return color
    grey, share = SHADES[(index - 1) % len(SHADES)]
    red, green, blue = (round(channel + (grey - channel) * share) for channel in color)
    return red, green, blue


def oklch_to_rgb(lightness: float, chroma: float, hue: float) -> RGB:
    """OKLCH (hue in radians) to sRGB, clipped. Source: B. Ottosson, "A perceptual color space", 2020."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (round(255 * _gamma(min(1.0, max(0.0, value)))) for value in linear)
    return red, green, blue


def _gamma(value: float) -> float:
    """Linear light to sRGB, both 0..1."""
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
