#!/usr/bin/env python3
"""Train a model, or evaluate one with --eval-only: `fcclip train` of this checkout. See docs/training.md."""

import sys

from fcclip.commands.train import main

if __name__ == "__main__":
    sys.exit(main(prog="train_net.py"))
