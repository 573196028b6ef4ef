#!/usr/bin/env python3
"""Convert a checkpoint of ZegCLIP or Cascade-CLIP: `fcclip convert`."""

import sys

from fcclip.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
