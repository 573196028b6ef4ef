"""Make label maps from COCO's panoptic annotations.

reads   coco/annotations/panoptic_{val,train}2017.json and coco/panoptic_{val,train}2017/*.png
writes  coco/panoptic_semseg_{val,train}2017/*.png  (class 0..132, 255 = unlabelled)

With --json, --panoptic and --output it does the same for a panoptic dataset of your own.
"""

import argparse
import sys
from pathlib import Path

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.coco import prepare_semantic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="panoptic JSON of your own dataset")
    parser.add_argument("--panoptic", type=Path, help="its folder of panoptic PNGs")
    parser.add_argument("--output", type=Path, help="folder of label maps to write")


if __name__ == "__main__":
    sys.exit(run(__doc__, prepare_semantic, add_arguments))
