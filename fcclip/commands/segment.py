"""Segment images by the names you give.

    fcclip segment photo.jpg --output segmented.png --vocabulary "cat,kitten; sofa; wall=stuff"
    fcclip segment photos/ "more/*.png" --output results/ --json found.json --add-vocabulary coco ade

Without a vocabulary the classes of COCO, ADE20K and LVIS are looked for: 1,486, which takes long to encode the first
time. A named model is fetched at the first use. The exit code is 0, or 1 if an image had to be skipped, or 2 if nothing
could be started.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fcclip.commands.options import add_folder_options, add_model_options, add_shared_options
from fcclip.commands.start import start_segmenting


def main(argv: Sequence[str] | None = None) -> int:
    """Segment images; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="fcclip segment", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", nargs="+", metavar="INPUT", help="images, folders of images, or globs")
    add_model_options(parser)
    add_folder_options(parser)
    add_shared_options(parser)
    parser.set_defaults(video_input=None, webcam=False, save_tracks=None)
    return start_segmenting(parser.parse_args(argv), "fcclip segment")
