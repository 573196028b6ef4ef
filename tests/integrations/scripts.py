"""Loads the scripts of `integrations/`, as the tools do that they are for; and a scene to try them on."""

import importlib.util
import sys
from functools import cache
from types import ModuleType

import numpy as np

from fcclip import Segmenter
from fcclip.data.panoshapes.scene import render_scene
from tests.tiny import REPOSITORY

NAMES = ("red star", "purple heart", "blue star", "grass", "gravel", "snow")
STUFF = ("grass", "gravel", "snow")


@cache
def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "integrations" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@cache
def segmenter() -> Segmenter:
    return Segmenter.from_pretrained("panoshapes", device="cpu")


@cache
def scene() -> np.ndarray:
    """(384, 384, 3): a red star, a blue star and a purple heart on gravel, snow and grass."""
    return render_scene(np.random.default_rng(72), 384, 384).image
