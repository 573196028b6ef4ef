"""Lay out the additional training images of PASCAL VOC 2012 that SBD annotates, with 20 classes.

reads   VOCdevkit/VOC2012/{ImageSets/Segmentation/{train,val}.txt,JPEGImages}
        VOCdevkit/VOCaug/dataset/{train.txt,val.txt,cls/*.mat}   (SBD), or VOCdevkit/VOC2012/SegmentationClassAug/*.png
writes  pascal_voc_d2/images/training_aug/*.jpg
        pascal_voc_d2/annotations_pascal20/training_aug/*.png    (0..19, 255 = background and border)
"""

import sys

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.pascal_voc_aug import prepare

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare))
