"""Renumber label maps of your own to 0, 1, 2, ... (255 = ignored), as training needs them.

reads   a folder of PNG label maps, and a file with a line `value:name,synonym,...` for each class
writes  a folder of label maps in which the classes are numbered by ascending value; other values become 255
"""

import argparse
import sys
from pathlib import Path

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.own_labels import prepare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", type=Path, required=True, help="folder of label maps")
    parser.add_argument("--names", type=Path, required=True, help="file with lines value:name,synonym,...")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")


if __name__ == "__main__":
    sys.exit(run(__doc__, prepare, add_arguments))
