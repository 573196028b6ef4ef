"""The tests of this folder compare a GPU with the CPU, and are skipped where PyTorch finds no GPU."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="no GPU"))


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """Convolutions in float32 as on the CPU: by default cuDNN rounds what it multiplies to 10 bits (TF32)."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield
