"""Join ADE20K's label maps and instance maps to the panoptic format.

reads   ADEChallengeData2016/images/{training,validation}/*.jpg
        ADEChallengeData2016/annotations/{training,validation}/*.png
        ADEChallengeData2016/annotations_instance/{training,validation}/*.png
writes  ADEChallengeData2016/ade20k_panoptic_{train,val}/*.png and ade20k_panoptic_{train,val}.json
"""

import argparse
import sys

from fcclip.data.prepare.ade20k import prepare_panoptic
from fcclip.data.prepare.cli import run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--visible-areas",
        action="store_true",
        help="state of stuff the area that is visible, not (as the published files do) that from before things covered "
        "part of it; areas enter PQ slightly (see datasets/README.md)",
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, prepare_panoptic, add_arguments))
