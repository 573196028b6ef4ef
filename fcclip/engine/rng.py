"""Random-number generators: saved and restored with checkpoints, and seeded for a while."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture_rng() -> dict[str, Any]:
    """States of Python's, NumPy's and PyTorch's generators, in types that `torch.load(weights_only=True)` reads."""
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002, augmentations use the global generator
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    return {
        "python": random.getstate(),
        "numpy": numpy_state,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Set all generators to a captured state; that of CUDA where there is one on both sides."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Let nothing that happens inside change what is drawn afterwards."""
    state = capture_rng()
    try:
        yield
    finally:
        restore_rng(state)


@contextmanager
def seeded_rng(*entropy: int) -> Iterator[None]:
    """Inside, the CPU's generators draw numbers that depend on `entropy` (integers >= 0) alone; then as before."""
    saved = (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
    for_python, for_numpy, for_torch = (int(word) for word in np.random.SeedSequence(entropy).generate_state(3))
    random.seed(for_python)
    np.random.seed(for_numpy)  # noqa: NPY002
    torch.default_generator.manual_seed(for_torch)
    try:
        yield
    finally:
        random.setstate(saved[0])
        np.random.set_state(saved[1])  # noqa: NPY002
        torch.set_rng_state(saved[2])
