#!/usr/bin/env python3
"""One scene of PanoShapes, and what the models of the package make of it, side by side.

python tools/draw_systems.py docs/images/systems.png --seed 3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from fcclip.data.panoshapes.classes import FEW_CLASSES
from fcclip.data.panoshapes.dataset import SIDE
from fcclip.data.panoshapes.scene import render_scene
from fcclip.engine.errors import run_tool
from fcclip.files.atomic import atomic_path
from fcclip.segmenter import Segmenter

MODELS = {"FC-CLIP": "panoshapes", "ZegCLIP": "zegclip_small", "Cascade-CLIP": "cascade_clip_small"}
VOCABULARY = [entry.name if entry.is_thing else f"{entry.name}=stuff" for entry in FEW_CLASSES]
TITLE = 18  # pixels above each picture
GAP = 6


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, metavar="FILE", help="the picture")
    parser.add_argument("--seed", type=int, default=3, help="of the scene (default: %(default)s)")
    parser.add_argument("--enlarge", type=int, default=2, help="times the scene's 256 pixels (default: %(default)s)")
    args = parser.parse_args(arguments)
    scene = render_scene(np.random.default_rng(args.seed), SIDE, SIDE, FEW_CLASSES)
    large = Image.fromarray(scene.image).resize((SIDE * args.enlarge,) * 2, Image.Resampling.BICUBIC)
    pictures = {"Scene": np.array(large)}
    for title, name in MODELS.items():
        segmenter = Segmenter.from_pretrained(name, device="cpu")
        segmenter.set_vocabulary(VOCABULARY)
        pictures[title] = segmenter.predict(np.array(large)).draw()
    with atomic_path(args.output) as scratch:
        side_by_side(pictures).quantize(128).save(scratch, format="png", optimize=True)  # a third of the size


def side_by_side(pictures: dict[str, np.ndarray]) -> Image.Image:
    """Pictures (H, W, 3) of one size, by title, in a row."""
    height, width = next(iter(pictures.values())).shape[:2]
    whole = Image.new("RGB", (len(pictures) * (width + GAP) - GAP, height + TITLE), "white")
    for number, (title, picture) in enumerate(pictures.items()):
        left = number * (width + GAP)
        whole.paste(Image.fromarray(picture), (left, TITLE))
        ImageDraw.Draw(whole).text((left + 2, 3), title, fill="black")
    return whole


if __name__ == "__main__":
    sys.exit(run_tool(main))
