#!/usr/bin/env python3
"""Export a model to ONNX files that run without PyTorch: `fcclip export`."""

import sys

from fcclip.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
