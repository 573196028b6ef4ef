#!/usr/bin/env python3
"""Segment very many images: `fcclip predict` of this checkout. See docs/batch.md."""

import sys

from fcclip.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
