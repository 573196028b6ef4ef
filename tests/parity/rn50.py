"""The recorded run of the published system with a ResNet-50 CLIP: its classes, and how its weights were seeded."""

import importlib.util
from typing import Any

from tests.shared import SHARED

FOLDER = SHARED / "parity"
TRAIN_CLASSES = ["person,people", "car,auto", "dog", "sky,clouds", "grass,lawn"]
TEST_CLASSES = [
    "person", "zebra,zebras", "car,truck", "sky", "sea,ocean,water", "tall building", "a", "b", "the", "cat,kitten",
    "violin", "1", "running shoe", "X-ray", "moon,crescent", "old oak tree", "river", "brick wall,bricks", "snow",
    "neon sign on a street at night",
]  # fmt: skip
TEST_THINGS = [0, 1, 2, 6, 8, 9, 10, 12, 14, 15]


def seeding() -> Any:
    spec = importlib.util.spec_from_file_location("seeded", FOLDER / "seeded.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
