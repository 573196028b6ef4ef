"""Make Cityscapes' label maps with training ids and its panoptic format, as cityscapesScripts does.

reads   cityscapes/gtFine/{train,val}/CITY/*_gtFine_{instanceIds,labelIds}.png
writes  cityscapes/gtFine/{train,val}/CITY/*_gtFine_labelTrainIds.png
        cityscapes/gtFine/cityscapes_panoptic_{train,val}/*.png and cityscapes_panoptic_{train,val}.json
"""

import sys

from fcclip.data.prepare.cityscapes import prepare
from fcclip.data.prepare.cli import run

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare))
