"""Lay out PASCAL Context with all 459 classes.

reads   VOCdevkit/VOC2010/{ImageSets/Main/{train,val}.txt,JPEGImages} and trainval/*.mat
writes  pascal_ctx_d2/images/{training,validation}/*.jpg, unless prepare_pascal_ctx_sem_seg.py has written them
        pascal_ctx_d2/annotations_ctx459/{training,validation}/*.tif   (16 bits, 0..458, 65535 = no class)
"""

import sys

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.pascal_context import prepare_459

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare_459))
