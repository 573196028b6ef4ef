"""Renumber the label maps of ADE20K's 150-class benchmark.

reads   ADEChallengeData2016/annotations/{training,validation}/*.png              (1..150, 0 = unlabelled)
writes  ADEChallengeData2016/annotations_detectron2/{training,validation}/*.png   (0..149, 255 = unlabelled)
"""

import sys

from fcclip.data.prepare.ade20k import prepare_semantic
from fcclip.data.prepare.cli import run

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare_semantic))
