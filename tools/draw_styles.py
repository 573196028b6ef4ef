#!/usr/bin/env python3
"""Make the sheet of pictures of docs/results.md: one scene of the built-in world, drawn in several styles.

python tools/draw_styles.py docs/images/styles.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from fcclip import Segmentation, Segmenter
from fcclip.data.panoshapes.scene import render_scene
from fcclip.drawing.labels import draw_label, label_size
from fcclip.drawing.style import DrawStyle
from fcclip.drawing.text import TextLine

SEED, SIDE, GAP, COLUMNS = 72, 320, 6, 3
VOCABULARY = "red star; purple heart; blue star; grass=stuff; gravel=stuff; snow=stuff; water=stuff"
STYLES = {
    "draw()": DrawStyle(),
    'labels="legend"': DrawStyle(labels="legend"),
    "outlines=True, boxes=True, scores=True": DrawStyle(outlines=True, boxes=True, scores=True),
    'view="instances"': DrawStyle(view="instances"),
    'palette="color-blind"': DrawStyle(palette="color-blind"),
    "transparent=True": DrawStyle(transparent=True),
}
COLORS = 128  # of the sheet, to keep the file small


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="image to write")
    path = parser.parse_args(arguments).file
    segmenter = Segmenter.from_pretrained("panoshapes")
    segmenter.set_vocabulary(VOCABULARY)
    result = segmenter.predict(render_scene(np.random.default_rng(SEED), SIDE, SIDE).image).above(0.5)
    tiles = [_tile(result, title, style) for title, style in STYLES.items()]
    height = max(tile.height for tile in tiles)
    rows = -(-len(tiles) // COLUMNS)
    size = (COLUMNS * (SIDE + GAP) - GAP, rows * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % COLUMNS * (SIDE + GAP), index // COLUMNS * (height + GAP)))
    sheet.quantize(COLORS).save(path, optimize=True)


def _tile(result: Segmentation, title: str, style: DrawStyle) -> Image.Image:
    """A drawn picture on a chequered ground, with its style as a title."""
    drawn = Image.fromarray(result.draw(style)).convert("RGBA")
    squares = np.indices((drawn.height, drawn.width)).sum(axis=0, keepdims=False) // 8 % 2
    tile = Image.fromarray(np.where(squares[..., None], np.uint8(255), np.uint8(225)).repeat(3, axis=2))
    tile.paste(drawn, (0, 0), drawn)
    line = TextLine(title, 13)
    width, height = label_size(line)
    draw_label(tile, line, (0, 0, 0), (4, SIDE - 4 - height, 4 + width, SIDE - 4))
    return tile


if __name__ == "__main__":
    main()
