"""Turn ADE20K's instance maps into COCO's instance format.

reads   ADEChallengeData2016/images/{training,validation}/*.jpg
        ADEChallengeData2016/annotations_instance/{training,validation}/*.png
writes  ADEChallengeData2016/ade20k_instance_{train,val}.json
"""

import sys

from fcclip.data.prepare.ade20k import prepare_instances
from fcclip.data.prepare.cli import run

if __name__ == "__main__":
    sys.exit(run(__doc__, prepare_instances))
