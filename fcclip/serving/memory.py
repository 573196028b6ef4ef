"""How much memory things take: what is kept for people is counted, so that it can be bounded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch


def held_bytes(value: Any) -> int:
    """Bytes of the arrays and tensors in dataclasses, lists and mappings, on whichever device; shared ones once.

    Example:
        >>> held_bytes({"map": np.zeros((2, 3), np.int32)})
        24
    """
    return sum(dict(_buffers(value)).values())


def _buffers(value: Any) -> Iterable[tuple[tuple[str, int], int]]:
    """(where it lies, bytes) of every buffer; a view keeps the whole of what it looks at."""
    if isinstance(value, torch.Tensor):
        storage = value.untyped_storage()
        yield (str(value.device), storage.data_ptr()), storage.nbytes()
    elif isinstance(value, np.ndarray):
        whole = value if not isinstance(value.base, np.ndarray) else value.base
        yield ("cpu", whole.__array_interface__["data"][0]), whole.nbytes
    elif is_dataclass(value):
        for field in fields(value):
            yield from _buffers(getattr(value, field.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _buffers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _buffers(item)
