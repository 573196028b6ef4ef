"""torch.compile for the parts of a model whose shapes follow from the size of the image alone."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import Tensor

from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.modeling.deformable import MSDeformAttn
from fcclip.modeling.deformable.backends import choose_backend

logger = logging.getLogger(__name__)

MAX_SHAPES = 16
CODE_VERSIONS = 8 * MAX_SHAPES  # that PyTorch keeps of one function: of several models, with and without inference mode
COMPILERS = {"darwin": "clang++", "win32": "cl"}  # g++ elsewhere


def compile_parts(model: FCCLIP, backend: str = "inductor", with_tower: bool = True) -> None:
    """Compile image tower, transformer decoder and, where its sampling is one kernel, pixel decoder.

    A part is compiled for each of the first `MAX_SHAPES` shapes that it meets, at the first image of that shape.
    PyTorch's own sampling stays as it is: it goes through in chunks that fit the cache, thousands of operations once
    they are unrolled.

    Args:
        model: is changed.
        backend: a backend of torch.compile.
        with_tower: whether the image tower, too; one in 8 bits has layers that cannot be compiled.

    Raises:
        ValueError: if there is no compiler.
    """
    if backend == "inductor":
        _check_compiler(model.device)
    from torch import _dynamo  # slow to import

    _dynamo.config.cache_size_limit = max(_dynamo.config.cache_size_limit, CODE_VERSIONS)
    head = model.sem_seg_head
    parts: list[tuple[Any, str]] = [(head.predictor, "decode")]
    if with_tower:
        parts.append((model.backbone, "forward"))
    samplers = [module for module in head.pixel_decoder.modules() if isinstance(module, MSDeformAttn)]
    if all(choose_backend(module.backend, model.device) == "triton" for module in samplers):
        parts.append((head.pixel_decoder, "forward_features"))
    for owner, name in parts:
        setattr(owner, name, CompiledByShape(getattr(owner, name), backend))


class CompiledByShape:
    """A function compiled for each of the first shapes of its arguments, and run as it is for all others.

    Args:
        function: of tensors, lists and dicts of tensors.
        backend: see `compile_parts`.
        max_shapes: how many are compiled.
    """

    def __init__(self, function: Callable[..., Any], backend: str = "inductor", max_shapes: int = MAX_SHAPES) -> None:
        self._function = function
        self._compiled = torch.compile(function, dynamic=False, fullgraph=True, backend=backend)
        self._max_shapes = max_shapes
        self._shapes: set[Hashable] = set()
        self._warned = False

    def __call__(self, *arguments: Any) -> Any:
        shapes = shapes_of(arguments)
        if shapes not in self._shapes:
            if len(self._shapes) >= self._max_shapes:
                self._warn()
                return self._function(*arguments)
            self._shapes.add(shapes)
        return self._compiled(*arguments)

    def _warn(self) -> None:
        if not self._warned:
            logger.warning(
                "compiled for %d image sizes, further sizes run uncompiled; pad images to a larger "
                "MODEL.MASK_FORMER.SIZE_DIVISIBILITY, and they come in fewer",
                self._max_shapes,
            )
        self._warned = True


def shapes_of(value: Any) -> Hashable:
    """Shapes and types of the tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, Mapping):
        return tuple((key, shapes_of(item)) for key, item in value.items())
    return tuple(shapes_of(item) for item in value)


def _check_compiler(device: torch.device) -> None:
    if device.type == "cuda":
        from fcclip.modeling.deformable.triton_backend import why_not

        reason = why_not(device)
        if reason is not None:
            raise ValueError(f"MODEL.FC_CLIP.COMPILE needs Triton, which does not work on {device} ({reason})")
        return
    compiler = os.environ.get("CXX", COMPILERS.get(sys.platform, "g++"))
    if shutil.which(compiler) is None:
        raise ValueError(
            f"MODEL.FC_CLIP.COMPILE needs a C++ compiler, and there is no {compiler}; install one, or leave it off"
        )
