"""Renumber the label maps of COCO-Stuff (164k).

reads   coco/stuffthingmaps/{val,train}2017/*.png               (category id - 1, 255 = unlabelled)
writes  coco/stuffthingmaps_detectron2/{val,train}2017/*.png    (class 0..170, 255 = unlabelled)
"""

import sys

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.coco import prepare_stuff

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare_stuff))
