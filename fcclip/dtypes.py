"""Floating-point types by the names that configuration keys give them."""

from __future__ import annotations

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def dtype_of_key(key: str, name: str) -> torch.dtype:
    """The type that a configuration key names.

    Raises:
        ValueError: there is no such type.
    """
    if name not in DTYPES:
        raise ValueError(f'{key} is "{name}"; choose one of {", ".join(DTYPES)}')
    return DTYPES[name]
