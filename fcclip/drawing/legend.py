"""A legend below a picture: a square of its colour, and the name, for every class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fcclip.drawing.colors import RGB
from fcclip.drawing.text import TextLine

INK: RGB = (32, 32, 32)
PAPER: RGB = (255, 255, 255)
LEAST_WIDTH = 120  # pixels, of the legend; narrower pictures get a margin


@dataclass(frozen=True)
class Entry:
    """One line of a legend."""

    text: str
    color: RGB


def add_legend(picture: np.ndarray, entries: Sequence[Entry], size: int, font: Path | None = None) -> np.ndarray:
    """Put a legend below a picture.

    Args:
        picture: (H, W, 3) uint8 RGB, or (H, W, 4) RGBA.
        entries: what to list, in columns from top to bottom.
        size: of the text, in pixels.
        font: a font file to try first.

    Returns:
        A higher array of the same kind, wider only if the picture is narrower than `LEAST_WIDTH`.
    """
    if not entries:
        return picture
    height, width = picture.shape[:2]
    whole_width = max(width, LEAST_WIDTH)
    lines = [_fit(entry.text, size, whole_width - 3 * size, font) for entry in entries]
    row = max(line.height for line in lines) + max(2, size // 4)
    widest = max(line.width for line in lines) + round(2.4 * size)
    columns = max(1, min(len(lines), (whole_width - size) // widest))
    rows = -(-len(lines) // columns)
    panel = Image.new("RGB", (whole_width, rows * row + size), PAPER)
    drawing = ImageDraw.Draw(panel)
    for index, (entry, line) in enumerate(zip(entries, lines, strict=True)):
        left = size // 2 + index // rows * ((whole_width - size) // columns)
        top = size // 2 + index % rows * row
        drawing.rectangle((left, top, left + size - 1, top + size - 1), fill=entry.color, outline=INK)
        line.draw(panel, left + round(1.4 * size), top + (size - line.height) / 2 + line.ascent, INK)
    below = np.array(panel.convert("RGB" if picture.shape[2] == 3 else "RGBA"))
    beside = np.full((height, whole_width - width, picture.shape[2]), 255, np.uint8)
    return np.concatenate([np.concatenate([picture, beside], axis=1), below])


def _fit(text: str, size: int, width: int, font: Path | None) -> TextLine:
    """The text, shortened if it is wider than the picture."""
    line = TextLine(text, size, font)
    while line.width > width and len(text) > 2:
        text = text[:-2].rstrip(" …") + "…"
        line = TextLine(text, size, font)
    return line
