"""A tiny model that is the same in every run, and an image for it."""

from typing import Any

import torch

from fcclip import Vocabulary
from fcclip.meta_arch.fcclip import FCCLIP
from tests.seeded import seed_by_name
from tests.tiny import tiny_model

IMAGE = {"image": torch.randint(0, 256, (3, 70, 100), generator=torch.Generator().manual_seed(0)).float()}


def seeded(kind: str, **overrides: Any) -> FCCLIP:
    """Of three classes; `overrides` as in `tiny_model`."""
    model = tiny_model(kind, **overrides)
    seed_by_name(model)
    model.set_vocabulary(Vocabulary.from_string("person,people; sky=stuff; traffic cone"))
    return model
