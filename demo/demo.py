#!/usr/bin/env python3
"""Segment images, a video or a camera's pictures by the names you give; --help tells more."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # to run from a checkout that is not installed

from fcclip.commands.demo import main

if __name__ == "__main__":
    sys.exit(main())
