"""Render a scene of PanoShapes into an image file, and print what is in it as a vocabulary."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.dataset import SIDE
from fcclip.data.panoshapes.scene import Scene, render_scene
from fcclip.files.atomic import atomic_path


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fcclip.data.panoshapes", description=__doc__)
    parser.add_argument("file", type=Path, help="image to write, e.g. scene.png")
    parser.add_argument("--seed", type=int, default=0, help="number of the scene (default: %(default)s)")
    parser.add_argument("--width", type=int, default=SIDE, metavar="PIXELS", help="default: %(default)s")
    parser.add_argument("--height", type=int, default=SIDE, metavar="PIXELS", help="default: %(default)s")
    args = parser.parse_args(argv)
    scene = render_scene(np.random.default_rng(args.seed), args.height, args.width)
    with atomic_path(args.file) as scratch:
        Image.fromarray(scene.image).save(scratch)
    print(describe(scene))


def describe(scene: Scene) -> str:
    """The classes of a scene in the form that `Vocabulary.from_string` reads: "red star; grass=stuff"."""
    classes = [CLASSES[category] for category in sorted({segment.category for segment in scene.segments})]
    return "; ".join(entry.name if entry.is_thing else f"{entry.name}=stuff" for entry in classes)


if __name__ == "__main__":
    main()
