"""Make the 847-class set from the full ADE20K.

reads   ADE20K_2021_17_01/images/ADE/**/ADE_*.jpg and ADE_*_seg.png
writes  ADE20K_2021_17_01/images_detectron2/{training,validation}/*.jpg        (shorter side at most 512)
        ADE20K_2021_17_01/annotations_detectron2/{training,validation}/*.tif   (16 bits, 0..846, 65535 = no class)

The pickled index of the archive is not read: file names tell the same.
"""

import sys

from fcclip.data.prepare.ade20k_full import prepare
from fcclip.data.prepare.cli import run

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare))
