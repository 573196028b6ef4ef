#!/usr/bin/env python3
"""`python -m fcclip.install_detectron2` for a checkout whose requirements are not installed yet; same options."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parents[1] / "fcclip" / "install_detectron2.py"), run_name="__main__")
