"""Open-vocabulary segmentation with one CLIP.

Importing this package registers its models and datasets with Detectron2. Only the command (`fcclip`, `python -m
fcclip`) and `python -m fcclip.install_detectron2` do without: they answer at once, also where Detectron2 is missing.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

_LIGHT_MODULES = ("fcclip", "fcclip.install_detectron2")


def _runs_as_command() -> bool:
    """Whether this process is the command `fcclip`, or `python -m` looks for one of the light modules."""
    program = next(iter(sys.argv), "")
    if program != "-m":  # what Python puts there while it looks for the module
        return Path(program).stem == "fcclip"
    return any(word.removeprefix("-m") in _LIGHT_MODULES for word in sys.orig_argv)


if TYPE_CHECKING or not _runs_as_command():
    from fcclip.public import *  # noqa: F403
    from fcclip.public import __all__  # noqa: F401
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module("fcclip.public"), name)
