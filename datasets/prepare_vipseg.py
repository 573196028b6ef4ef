"""Make VIPSeg's frames of 720 rows, its panoptic PNGs and their JSON files, as its own scripts do.

reads   VIPSeg/{imgs,panomasks}/<video>/*, VIPSeg/{train,val,test}.txt
writes  VIPSeg/VIPSeg_720P/{images,panomasksRGB}/<video>/*, panoptic_gt_VIPSeg_{train,val,test}.json,
        panoVIPSeg_categories.json, {train,val,test}.txt
"""

import sys

from fcclip.data.prepare.cli import run
from fcclip.data.prepare.vipseg import prepare

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare))
