"""Deformable attention on GPUs by our Triton kernels, as an operator with gradients that torch.compile takes as it is.

Gradients of the value are added up by many threads at once. In floating point their order changes the last bits from
run to run; after `torch.use_deterministic_algorithms(True)` they are added in 64-bit fixed point instead, where order
does not matter: the same bits every time and finer than float32, for atomic additions twice as wide and twice the
memory of this gradient. The output and the other gradients are deterministic anyway.

Triton times a few block sizes at the first call for each type and (roughly) size, and keeps the choice on disk beside
its compiled kernels; capture a CUDA graph only after such a first call. It builds a small launcher with the machine's C
compiler, once a machine; where that fails, "auto" falls back to another backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fcclip.modeling.constants import cached_constant

LARGEST_INT32 = 2**31 - 1
FIXED_POINT_BITS = 62  # of the largest sum that can occur
MAX_SCALE_BITS = 126  # of the factor to fixed point, a float32


def sample_triton(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples; arguments and result as in `~.torch_backend.sample_torch`.

    The three tensors may differ in type: float16, bfloat16, float32 or float64. Sums are in float32 (float64 for values
    in float64), the result has the type of `value`, each gradient that of its tensor.

    Raises:
        ValueError: if the tensors do not fit each other, or are not on a GPU.
    """
    _check(value, shapes, locations, weights)
    largest = max(height * width for height, width in shapes)
    wide = largest * value.shape[2] * value.shape[3] > LARGEST_INT32
    return _sample(value, _shape_tensor(tuple(shapes), value.device), locations, weights, wide)


def why_not(device: torch.device) -> str | None:
    """Why Triton does not work on a GPU: no reason is None."""
    from fcclip.modeling.deformable.triton_kernels import probe_kernel

    try:
        with torch.cuda.device(device):
            probe_kernel[(1,)](torch.zeros(1, device=device))
            torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - old GPU, no C compiler, driver that does not fit: every failure means the same here
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def _check(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> None:
    # The kernels do not look where they read: what does not fit must not reach them.
    from fcclip.modeling.deformable.triton_kernels import INTERPRETED

    if value.device.type != "cuda" and not INTERPRETED:
        raise ValueError(f'triton deformable attention runs on a GPU, not on "{value.device.type}"; choose "auto"')
    if value.device != locations.device or value.device != weights.device:
        raise ValueError(
            f"value, locations and weights are on {value.device}, {locations.device} and {weights.device}; "
            "move them to one device"
        )
    if any(size < 1 for shape in shapes for size in shape):
        raise ValueError(f"every level needs a height and a width, not {list(shapes)}")
    cells = sum(height * width for height, width in shapes)
    batch, _, heads, _ = value.shape
    expected = (batch, weights.shape[1], heads, len(shapes))
    if value.shape[1] != cells or weights.shape[:4] != expected or locations.shape != (*weights.shape, 2):
        raise ValueError(
            f"value {tuple(value.shape)}, locations {tuple(locations.shape)} and weights {tuple(weights.shape)} do not "
            f"fit the levels {list(shapes)}; give (B, M, heads, d), (B, N, heads, levels, points, 2) and the same less "
            "its last dimension, with M cells in all levels together"
        )


@cached_constant(maxsize=64)  # a copy to the GPU would wait for it
def _shape_tensor(shapes: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    return torch.tensor(shapes, dtype=torch.int32, device=device)


@torch.library.custom_op(
    "fcclip::deformable_attention",
    mutates_args=(),
    schema="(Tensor value, Tensor level_shapes, Tensor locations, Tensor weights, bool wide) -> Tensor",
)
def _sample(value: Tensor, level_shapes: Tensor, locations: Tensor, weights: Tensor, wide: bool) -> Tensor:
    from fcclip.modeling.deformable.triton_kernels import forward_kernel

    value, locations, weights = value.contiguous(), locations.contiguous(), weights.contiguous()
    out = value.new_empty(*weights.shape[:2], value.shape[2] * value.shape[3])
    _launch(forward_kernel, (value, level_shapes, locations, weights, out), value, weights, WIDE=wide)
    return out


@_sample.register_fake
def _sample_fake(value: Tensor, level_shapes: Tensor, locations: Tensor, weights: Tensor, wide: bool) -> Tensor:
    return value.new_empty(*weights.shape[:2], value.shape[2] * value.shape[3])


@torch.library.custom_op(
    "fcclip::deformable_attention_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor value, Tensor level_shapes, Tensor locations, Tensor weights, bool wide) "
    "-> (Tensor, Tensor, Tensor)",
)
def _sample_backward(
    grad: Tensor, value: Tensor, level_shapes: Tensor, locations: Tensor, weights: Tensor, wide: bool
) -> tuple[Tensor, Tensor, Tensor]:
    from fcclip.modeling.deformable.triton_kernels import backward_kernel

    grad, value, locations, weights = (tensor.contiguous() for tensor in (grad, value, locations, weights))
    fixed_point = torch.are_deterministic_algorithms_enabled() and grad.numel() > 0
    units = _fixed_point_units(grad, weights) if fixed_point else None
    grad_value = torch.zeros_like(value, dtype=torch.int64 if fixed_point else _sum_type(value))
    grad_locations, grad_weights = torch.empty_like(locations), torch.empty_like(weights)
    inputs = (grad, value, level_shapes, locations, weights)
    tensors = (*inputs, grad_value, grad_locations, grad_weights, units)
    _launch(backward_kernel, tensors, value, weights, WIDE=wide, FIXED_POINT=fixed_point)
    if units is not None:
        return (grad_value.to(units.dtype) / units).to(value.dtype), grad_locations, grad_weights
    return grad_value.to(value.dtype), grad_locations, grad_weights


@_sample_backward.register_fake
def _sample_backward_fake(
    grad: Tensor, value: Tensor, level_shapes: Tensor, locations: Tensor, weights: Tensor, wide: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(value, memory_format=torch.contiguous_format),
        torch.empty_like(locations, memory_format=torch.contiguous_format),
        torch.empty_like(weights, memory_format=torch.contiguous_format),
    )


def _remember(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, Tensor, bool], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.wide = inputs[4]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor, None]:
    grad_value, grad_locations, grad_weights = _sample_backward(grad, *ctx.saved_tensors, ctx.wide)
    return grad_value, None, grad_locations, grad_weights, None


_sample.register_autograd(_backward, setup_context=_remember)


def _launch(kernel: Any, tensors: Sequence[Tensor | None], value: Tensor, weights: Tensor, **options: bool) -> None:
    import triton
    import triton.language as tl

    batch, cells, heads, channels = value.shape
    _, queries, _, levels, points = weights.shape
    programs = batch * heads
    if not queries * programs * channels:
        return
    with torch.cuda.device_of(value):
        kernel[lambda meta: (triton.cdiv(queries, meta["BLOCK_N"]), programs)](
            *tensors,
            cells,
            queries,
            triton.next_power_of_2(queries * programs),
            HEADS=heads,
            D=channels,
            LEVELS=levels,
            POINTS=points,
            BLOCK_D=triton.next_power_of_2(channels),
            SUM=tl.float64 if value.dtype == torch.float64 else tl.float32,
            enable_fp_fusion=True,
            **options,
        )


def _sum_type(value: Tensor) -> torch.dtype:
    return torch.float64 if value.dtype == torch.float64 else torch.float32


def _fixed_point_units(grad: Tensor, weights: Tensor) -> Tensor:
    """The power of two that keeps every sum of gradients within 64 bits; it never leaves the device.

    A point adds at most |grad| * weight to one cell (the shares of its corners make 1), and every query of an image can
    reach that cell with all its points. If a gradient is infinite or NaN, so become all: that is found and skipped.
    """
    queries, points = weights.shape[1], weights.shape[3] * weights.shape[4]
    bound = grad.abs().amax().double() * weights.abs().amax().double() * (queries * points)
    exponent = FIXED_POINT_BITS - torch.ceil(torch.log2(bound))
    return torch.exp2(exponent.clamp(max=MAX_SCALE_BITS)).to(_sum_type(grad))
