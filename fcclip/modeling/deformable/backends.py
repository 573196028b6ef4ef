"""Who samples: the choice of a backend by name, by what is installed, and by device."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TypeAlias

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "native", "triton")
TRACED = ("grid-sample", "gather")  # what `fcclip.export` puts in their place: sizes may stay unknown while it traces
NATIVE_PACKAGE = "torch_ms_deform_attn"

Shapes: TypeAlias = Sequence[tuple[int, int]]
Sampler: TypeAlias = Callable[[Tensor, Shapes, Tensor, Tensor], Tensor]


def check_backend(choice: str) -> None:
    """Refuse what is no backend, or is not installed here.

    Raises:
        ValueError: says what to install or to choose instead.
    """
    if choice not in BACKENDS:
        raise ValueError(f'there is no deformable attention "{choice}"; choose one of {", ".join(BACKENDS)}')
    if choice == "native" and not native_installed():
        raise ValueError('native deformable attention needs "pip install torch-ms-deform-attn"; or choose "torch"')
    if choice == "triton" and not triton_installed():
        raise ValueError(
            "triton deformable attention needs PyTorch 2.4 or later and Triton, which comes with PyTorch for GPUs on "
            'Linux; or choose "auto"'
        )


def native_installed() -> bool:
    return importlib.util.find_spec(NATIVE_PACKAGE) is not None


def triton_installed() -> bool:
    return importlib.util.find_spec("triton") is not None and hasattr(torch.library, "custom_op")


@torch.compiler.assume_constant_result  # decided while torch.compile traces, not part of the graph
def choose_backend(choice: str, device: torch.device) -> str:
    """Turn "auto" into "triton" on a GPU where it works, else "native" if it is installed, else "torch".

    The choice is made and logged once a device.
    """
    return _best_backend(device) if choice == "auto" else choice


@cache
def _best_backend(device: torch.device) -> str:
    choice = "native" if native_installed() and device.type in ("cpu", "cuda") else "torch"
    if device.type == "cuda" and triton_installed():
        from fcclip.modeling.deformable.triton_backend import why_not

        reason = why_not(device)
        if reason is None:
            choice = "triton"
        else:
            logger.warning("deformable attention: Triton does not work on %s (%s)", device, reason)
    logger.info("deformable attention on %s: %s", device, choice)
    return choice


def sampler(backend: str) -> Sampler:
    """The function behind a backend's name, all with the arguments of `~.torch_backend.sample_torch`."""
    if backend == "triton":
        from fcclip.modeling.deformable.triton_backend import sample_triton

        return sample_triton
    if backend == "native":
        from fcclip.modeling.deformable.native_backend import sample_native

        return sample_native
    if backend == "gather":
        from fcclip.modeling.deformable.gather_backend import sample_by_gather

        return sample_by_gather
    from fcclip.modeling.deformable.torch_backend import sample_torch

    return partial(sample_torch, chunk=None) if backend == "grid-sample" else sample_torch
