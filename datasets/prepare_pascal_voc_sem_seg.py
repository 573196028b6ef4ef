"""Lay out PASCAL VOC 2012's segmentation subset with 21 and with 20 classes.

reads   VOCdevkit/VOC2012/{ImageSets/Segmentation/{train,val}.txt,JPEGImages,SegmentationClass}
writes  pascal_voc_d2/images/{training,validation}/*.jpg
        pascal_voc_d2/annotations_pascal21/{training,validation}/*.png   (0 = background, 1..20, 255 = border)
        pascal_voc_d2/annotations_pascal20/{training,validation}/*.png   (0..19, 255 = background and border)
"""

import sys

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.pascal_voc import prepare

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare))
