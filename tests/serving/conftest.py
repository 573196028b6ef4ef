"""A server's parts with a tiny model of random weights, whose answers differ by picture and names."""

import numpy as np
import pytest

from fcclip import Segmenter
from fcclip.serving.models import Models
from tests.tiny import tiny_model


def tiny_segmenter(seed: int = 0) -> Segmenter:
    return Segmenter(tiny_model(seed=seed, MODEL__FC_CLIP__TEXT_CACHE=False), 64, 96)


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def models() -> Models:
    """Two models, "first" and "second", of different weights."""
    return Models(["first", "second"], load=lambda source: tiny_segmenter(int(source == "second")))
