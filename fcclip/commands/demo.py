"""Segment images, a video or a camera's pictures by the names you give.

    python demo/demo.py --input photo.jpg --output segmented.png --vocabulary "cat,kitten; sofa; wall=stuff"
    python demo/demo.py --input photos/ "more/*.png" --output results/ --add-vocabulary coco ade
    python demo/demo.py --video-input clip.mp4 --output results/ --vocabulary-file names.txt

Without a vocabulary the classes of COCO, ADE20K and LVIS are looked for: 1,486, which takes long to encode the first
time. The exit code is 0, or 1 if an image or frame had to be skipped, or 2 if nothing could be started.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fcclip.commands.options import add_folder_options, add_model_options, add_shared_options, add_video_options
from fcclip.commands.start import start_segmenting


def main(argv: Sequence[str] | None = None) -> int:
    """demo.py, with the flags of the published one and more; returns the exit code."""
    return start_segmenting(parse_arguments(argv), "demo.py")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(parser, default=None)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--input", nargs="+", metavar="PATH", help="images, folders of images, or globs")
    source.add_argument("--video-input", metavar="PATH", help="a video file, or a folder of frames")
    source.add_argument("--webcam", action="store_true", help="the first camera")
    add_video_options(parser)
    add_folder_options(parser)
    add_shared_options(parser)
    return parser.parse_args(argv)
