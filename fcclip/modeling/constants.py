"""Tensors that depend on nothing but sizes: made once, and shared by all images of that size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")

_collectors: list[list[Tensor]] = []
# PyTorch's oldest supported version cannot say it; there torch.compile looks through the cache by itself.
_is_compiling: Callable[[], bool] = getattr(torch.compiler, "is_compiling", lambda: False)


def cached_constant(maxsize: int) -> Callable[[Callable[Arguments, Tensor]], Callable[Arguments, Tensor]]:
    """Decorator: remember the tensors that a function of hashable arguments makes. Nobody may write to them.

    What torch.compile compiles makes its own.
    """

    def decorate(make: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
        # Made while evaluating, a constant may later be used in training.
        cached: Any = lru_cache(maxsize)(torch.inference_mode(False)(make))

        @wraps(make)
        def get(*arguments: Arguments.args, **named: Arguments.kwargs) -> Tensor:
            if _is_compiling():
                return make(*arguments, **named)
            constant = cached(*arguments, **named)
            for collector in _collectors:
                collector.append(constant)
            return constant

        return get

    return decorate


def is_recording() -> bool:
    """Whether a graph is being made of what runs now: compiled, traced or captured. No size may depend on values."""
    if _is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return True
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


@contextmanager
def collected_constants() -> Iterator[list[Tensor]]:
    """Collect the constants that are used within the block, for one who must keep them although the cache forgets."""
    collector: list[Tensor] = []
    _collectors.append(collector)
    try:
        yield collector
    finally:
        _collectors.pop()
