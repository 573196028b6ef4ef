"""Render a scene or a clip of PanoShapes into a file, and print what is in it as a vocabulary."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clip import FRAMES, render_clip
from fcclip.data.panoshapes.dataset import SIDE
from fcclip.data.panoshapes.scene import Scene, render_scene
from fcclip.files.atomic import atomic_path
from fcclip.files.video_writer import open_video_writer
from fcclip.flags import whole_number

MOVING_SUFFIXES = {".gif", ".mp4", ".webp"}
FPS = 10


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m fcclip.data.panoshapes", description=__doc__)
    parser.add_argument("file", type=Path, help="image to write, e.g. scene.png; a clip if it is .mp4, .gif or .webp")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="number of the scene (default: %(default)s)")
    parser.add_argument("--width", type=whole_number(1), default=SIDE, metavar="PIXELS", help="default: %(default)s")
    parser.add_argument("--height", type=whole_number(1), default=SIDE, metavar="PIXELS", help="default: %(default)s")
    parser.add_argument(
        "--frames", type=whole_number(1), default=FRAMES, help="length of a clip (default: %(default)s)"
    )
    parser.add_argument(
        "--cuts", type=whole_number(0), nargs="*", default=(), metavar="FRAME", help="frames that begin a new shot"
    )
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    if args.file.suffix.lower() in MOVING_SUFFIXES:
        scenes = list(render_clip(rng, args.height, args.width, args.frames, cuts=args.cuts))
        write_clip(args.file, [scene.image for scene in scenes])
    else:
        scenes = [render_scene(rng, args.height, args.width)]
        with atomic_path(args.file) as scratch:
            Image.fromarray(scenes[0].image).save(scratch)
    print(describe(*scenes))


def write_clip(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Write (H, W, 3) uint8 frames as a video or an animated picture."""
    if path.suffix.lower() == ".mp4":
        height, width = frames[0].shape[:2]
        with open_video_writer(path, FPS, (width, height)) as writer:
            for frame in frames:
                writer.write(frame)
        return
    first, *others = map(Image.fromarray, frames)
    with atomic_path(path) as scratch:
        first.save(scratch, save_all=True, append_images=others, duration=1000 // FPS, loop=0)


def describe(*scenes: Scene) -> str:
    """The classes of scenes in the form that `Vocabulary.from_string` reads: "red star; grass=stuff"."""
    present = sorted({segment.category for scene in scenes for segment in scene.segments})
    classes = [CLASSES[category] for category in present]
    return "; ".join(entry.name if entry.is_thing else f"{entry.name}=stuff" for entry in classes)


if __name__ == "__main__":
    main()
