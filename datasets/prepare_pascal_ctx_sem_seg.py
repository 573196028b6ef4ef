"""Lay out PASCAL Context with 59 classes.

reads   VOCdevkit/VOC2010/{ImageSets/Main/{train,val}.txt,JPEGImages} and trainval/*.mat (459 classes);
        or, with the package `detail` installed, VOCdevkit/VOC2010/{JPEGImages,trainval_merged.json}
writes  pascal_ctx_d2/images/{training,validation}/*.jpg
        pascal_ctx_d2/annotations_ctx59/{training,validation}/*.png   (0..58, 255 = none of the classes)
"""

import argparse
import sys

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.pascal_context import SOURCES, prepare_59


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels",
        choices=SOURCES,
        default="auto",
        help="where labels come from: trainval/*.mat, the package detail, or (auto) detail if both are there",
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, prepare_59, add_arguments))
