"""Textures of the kinds of stuff: each a function that paints a whole canvas.

All lengths are in units of 1/256 of the longer side, so that a scene looks the same at any size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Painter = Callable[[np.random.Generator, int, int], np.ndarray]
UNITS = 256  # per longer side


def paint_texture(rng: np.random.Generator, stuff: str, height: int, width: int) -> np.ndarray:
    """(height, width, 3) float32, RGB around 0..255, filled with one kind of stuff."""
    return PAINTERS[stuff](rng, height, width)


def smooth_noise(
    rng: np.random.Generator, height: int, width: int, grain_y: float, grain_x: float | None = None
) -> np.ndarray:
    """(height, width) float32 noise of mean 0 and deviation about 1, with grains of the given size in units."""
    grain_x = grain_y if grain_x is None else grain_x
    pixels = max(height, width) / UNITS
    rows, columns = (max(2, min(n, round(n / (grain * pixels)))) for n, grain in ((height, grain_y), (width, grain_x)))
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    if (rows, columns) == (height, width):
        return coarse
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _blend(low: tuple[int, int, int], high: tuple[int, int, int], share: np.ndarray) -> np.ndarray:
    share = share.clip(0, 1)[..., None]
    return np.array(low, np.float32) * (1 - share) + np.array(high, np.float32) * share


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (height, 1) and columns (1, width) in units."""
    unit = np.float32(UNITS / max(height, width))
    return np.arange(height, dtype=np.float32)[:, None] * unit, np.arange(width, dtype=np.float32)[None] * unit


def _grass(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    blades = smooth_noise(rng, height, width, 7, 1.5)
    return _blend((28, 70, 20), (110, 160, 50), 0.5 + 0.3 * blades)


def _brick(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = _grid(height, width)
    tall, wide = rng.uniform(13, 19), rng.uniform(28, 40)
    row = np.floor((y + rng.uniform(0, tall)) / tall)
    shifted = x + wide / 2 * (row % 2) + rng.uniform(0, wide)
    mortar = ((y + 0 * x) % tall < 2.2) | (shifted % wide < 2.2)
    shades = rng.uniform(0, 1, (64, 64)).astype(np.float32)
    share = shades[row.astype(int) % 64, np.floor(shifted / wide).astype(int) % 64]
    share = share + 0.15 * smooth_noise(rng, height, width, 2)
    bricks = _blend((125, 50, 35), (180, 85, 60), share)
    return np.where(mortar[..., None], np.float32(170), bricks)


def _water(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = _grid(height, width)
    drift = smooth_noise(rng, height, width, 30)
    waves = np.sin(y * rng.uniform(0.45, 0.65) + 1.6 * drift + 0.03 * x)
    return _blend((15, 60, 110), (95, 160, 195), 0.4 + 0.3 * waves + 0.08 * smooth_noise(rng, height, width, 2, 9))


def _sand(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    share = 0.5 + 0.2 * smooth_noise(rng, height, width, 1) + 0.15 * smooth_noise(rng, height, width, 40, 60)
    return _blend((190, 160, 105), (240, 215, 165), share)


def _sky(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = _grid(height, width)
    clouds = smooth_noise(rng, height, width, 22, 45) + 0.4 * smooth_noise(rng, height, width, 9, 18)
    blue = _blend((95, 150, 225), (170, 205, 240), (y + 0 * x) / UNITS)
    share = (0.55 * (clouds - 0.4)).clip(0, 0.9)[..., None]
    return blue * (1 - share) + np.float32(245) * share


def _gravel(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    stones = np.abs(smooth_noise(rng, height, width, 6))
    tone = 0.15 + 0.6 * stones + 0.1 * smooth_noise(rng, height, width, 2)
    return _blend((50, 48, 46), (165, 160, 152), tone)


def _snow(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    share = 0.75 + 0.25 * smooth_noise(rng, height, width, 35, 50) + 0.05 * smooth_noise(rng, height, width, 1)
    return _blend((190, 205, 230), (250, 252, 255), share)


def _tiles(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = _grid(height, width)
    side = rng.uniform(20, 30)
    row, column = (y + rng.uniform(0, side)) / side, (x + rng.uniform(0, side)) / side
    dark = (np.floor(row) + np.floor(column)) % 2
    seam = (row % 1 < 0.07) | (column % 1 < 0.07)
    share = 0.9 - 0.6 * dark + 0.04 * smooth_noise(rng, height, width, 3)
    return np.where(seam[..., None], np.float32(60), _blend((70, 95, 100), (205, 215, 210), share))


def _wood(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    y, x = _grid(height, width)
    plank = rng.uniform(30, 45)
    at = y + rng.uniform(0, plank)
    grain = smooth_noise(rng, height, width, 1.5, 70)
    shades = rng.uniform(-0.2, 0.2, 64).astype(np.float32)[np.floor(at / plank).astype(int) % 64]
    wood = _blend((90, 55, 25), (190, 130, 75), 0.5 + 0.2 * grain + shades)
    return np.where(((at + 0 * x) % plank < 1.8)[..., None], np.array((55, 32, 15), np.float32), wood)


def _lava(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    veins = np.abs(smooth_noise(rng, height, width, 20) + 0.3 * smooth_noise(rng, height, width, 7))
    glow = (1 - 2.2 * veins).clip(0, 1)
    crust = _blend((25, 12, 12), (70, 40, 35), 0.4 + 0.3 * smooth_noise(rng, height, width, 3))
    return crust * (1 - glow[..., None]) + _blend((200, 40, 5), (255, 190, 60), glow) * glow[..., None]


PAINTERS: dict[str, Painter] = {
    "grass": _grass,
    "brick": _brick,
    "water": _water,
    "sand": _sand,
    "sky": _sky,
    "gravel": _gravel,
    "snow": _snow,
    "tiles": _tiles,
    "wood": _wood,
    "lava": _lava,
}
