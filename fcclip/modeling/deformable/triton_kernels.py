"""Triton kernels of deformable attention. One program samples a block of queries for one image and head.

Layouts, all contiguous: value (B, M, heads, d), locations (B, N, heads, levels, points, 2), weights (B, N, heads,
levels, points); the grid has (blocks of queries, B * heads) programs. The d channels of a cell lie side by side, so
every corner of every sample is one coalesced, vectorised access; programs that run side by side work on neighbouring
queries of one head and find each other's cells in the cache.

Sums are in SUM, float32 or float64, for all types of tensors. Offsets within one level are 32-bit unless WIDE;
where images and levels start is a 64-bit scalar.
"""

from __future__ import annotations

import inspect

import triton
import triton.language as tl

NOT_SPECIALIZED = ["cells", "queries", "work"]  # image sizes change; one compilation serves all
TUNING_KEY = ["work", "HEADS", "D", "LEVELS", "POINTS"]  # and, always, the types of the tensors
# Older versions of Triton keep the choice in the process only.
ON_DISK = {"cache_results": True} if "cache_results" in inspect.signature(triton.autotune).parameters else {}


@triton.jit
def probe_kernel(out: tl.tensor) -> None:
    """Does as little as possible: where it runs, Triton works."""
    tl.store(out, 1)


INTERPRETED = not isinstance(probe_kernel, triton.JITFunction)
# Queries and warps of a program: with 32 channels, 4 to 16 values a thread.
BLOCKS = ((8, 1), (16, 1), (16, 2), (16, 4), (32, 4), (64, 4))
CONFIGS = [triton.Config({"BLOCK_N": block}, num_warps=warps) for block, warps in BLOCKS]
if INTERPRETED:  # nothing to tune
    CONFIGS = CONFIGS[1:2]


@triton.jit
def load_point(
    locations: tl.tensor, sample: tl.tensor, live: tl.tensor, width: tl.tensor, height: tl.tensor, SUM: tl.constexpr
) -> tl.tensor:
    """Where samples lie, x and y, in pixels from the centre of the first one."""
    x = tl.load(locations + 2 * sample, mask=live, other=0.0).to(SUM) * width - 0.5
    y = tl.load(locations + 2 * sample + 1, mask=live, other=0.0).to(SUM) * height - 0.5
    # Whatever reaches no pixel, infinities and NaN among it, goes to one place outside, where integers do not overflow.
    reached = (x > -1) & (x < width) & (y > -1) & (y < height)
    return tl.where(reached, x, -2.0), tl.where(reached, y, -2.0)


@triton.jit
def corner_offset(
    column: tl.tensor,
    row: tl.tensor,
    width: tl.tensor,
    height: tl.tensor,
    channel: tl.tensor,
    STRIDE: tl.constexpr,
    D: tl.constexpr,
    WIDE: tl.constexpr,
) -> tl.tensor:
    """Offsets (BLOCK_N, BLOCK_D) of pixels within their level, and which of them exist."""
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    pixel = row * width + column
    if WIDE:
        pixel = pixel.to(tl.int64)
    return pixel[:, None] * STRIDE + channel[None, :], inside[:, None] & (channel < D)[None, :]


@triton.autotune(CONFIGS, key=TUNING_KEY, **ON_DISK)
@triton.jit(do_not_specialize=NOT_SPECIALIZED)
def forward_kernel(
    value: tl.tensor,
    level_shapes: tl.tensor,
    locations: tl.tensor,
    weights: tl.tensor,
    out: tl.tensor,
    cells: tl.tensor,
    queries: tl.tensor,
    work: tl.tensor,  # the rounded size of the problem, only to tune by
    HEADS: tl.constexpr,
    D: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    WIDE: tl.constexpr,
    SUM: tl.constexpr,
    BLOCK_N: tl.constexpr,
) -> None:
    """Write `out` (B, N, heads, d)."""
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    start = tl.program_id(0) * BLOCK_N
    block = tl.arange(0, BLOCK_N)
    live = block < queries - start
    channel = tl.arange(0, BLOCK_D)
    first = (image * queries + start) * HEADS + head
    level_start = (image * cells * HEADS + head) * D
    locations += first * (LEVELS * POINTS * 2)
    weights += first * (LEVELS * POINTS)

    total = tl.zeros((BLOCK_N, BLOCK_D), dtype=SUM)
    for level in range(LEVELS):
        height = tl.load(level_shapes + 2 * level)
        width = tl.load(level_shapes + 2 * level + 1)
        for point in tl.static_range(POINTS):
            sample = block * (HEADS * LEVELS * POINTS) + level * POINTS + point
            x, y = load_point(locations, sample, live, width, height, SUM)
            weight = tl.load(weights + sample, mask=live, other=0.0).to(SUM)
            left, top = tl.floor(x), tl.floor(y)
            for below in tl.static_range(2):
                for right in tl.static_range(2):
                    column, row = left.to(tl.int32) + right, top.to(tl.int32) + below
                    offset, inside = corner_offset(column, row, width, height, channel, HEADS * D, D, WIDE)
                    seen = tl.load(value + level_start + offset, mask=inside, other=0.0).to(SUM)
                    share = tl.abs(x - left - (1 - right)) * tl.abs(y - top - (1 - below))
                    total += seen * (weight * share)[:, None]
        level_start += (height * width).to(tl.int64) * (HEADS * D)

    out += first * D
    offset = block[:, None] * (HEADS * D) + channel[None, :]
    tl.store(out + offset, total.to(out.dtype.element_ty), mask=live[:, None] & (channel < D)[None, :])


@triton.autotune(CONFIGS, key=TUNING_KEY, reset_to_zero=["grad_value"], **ON_DISK)
@triton.jit(do_not_specialize=NOT_SPECIALIZED)
def backward_kernel(
    grad_out: tl.tensor,
    value: tl.tensor,
    level_shapes: tl.tensor,
    locations: tl.tensor,
    weights: tl.tensor,
    grad_value: tl.tensor,
    grad_locations: tl.tensor,
    grad_weights: tl.tensor,
    units: tl.tensor,
    cells: tl.tensor,
    queries: tl.tensor,
    work: tl.tensor,  # the rounded size of the problem, only to tune by
    HEADS: tl.constexpr,
    D: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    WIDE: tl.constexpr,
    SUM: tl.constexpr,
    FIXED_POINT: tl.constexpr,
    BLOCK_N: tl.constexpr,
) -> None:
    """Write the gradients of locations and weights, and add that of the value to `grad_value`, which starts at zero.

    `grad_value` has the type SUM; with FIXED_POINT it is int64 and counts `units` (one number of them make 1).
    """
    image = (tl.program_id(1) // HEADS).to(tl.int64)
    head = tl.program_id(1) % HEADS
    start = tl.program_id(0) * BLOCK_N
    block = tl.arange(0, BLOCK_N)
    live = block < queries - start
    channel = tl.arange(0, BLOCK_D)
    first = (image * queries + start) * HEADS + head
    level_start = (image * cells * HEADS + head) * D
    locations += first * (LEVELS * POINTS * 2)
    weights += first * (LEVELS * POINTS)
    grad_locations += first * (LEVELS * POINTS * 2)
    grad_weights += first * (LEVELS * POINTS)
    grad_out += first * D

    query = block[:, None] * (HEADS * D) + channel[None, :]
    grad = tl.load(grad_out + query, mask=live[:, None] & (channel < D)[None, :], other=0.0).to(SUM)
    if FIXED_POINT:
        scale = tl.load(units)
    for level in range(LEVELS):
        height = tl.load(level_shapes + 2 * level)
        width = tl.load(level_shapes + 2 * level + 1)
        for point in tl.static_range(POINTS):
            sample = block * (HEADS * LEVELS * POINTS) + level * POINTS + point
            x, y = load_point(locations, sample, live, width, height, SUM)
            weight = tl.load(weights + sample, mask=live, other=0.0).to(SUM)
            left, top = tl.floor(x), tl.floor(y)
            grad_x = tl.zeros((BLOCK_N,), dtype=SUM)
            grad_y = tl.zeros((BLOCK_N,), dtype=SUM)
            grad_weight = tl.zeros((BLOCK_N,), dtype=SUM)
            for below in tl.static_range(2):
                for right in tl.static_range(2):
                    column, row = left.to(tl.int32) + right, top.to(tl.int32) + below
                    offset, inside = corner_offset(column, row, width, height, channel, HEADS * D, D, WIDE)
                    seen = tl.load(value + level_start + offset, mask=inside, other=0.0).to(SUM)
                    product = tl.sum(grad * seen, axis=1)
                    share_x = tl.abs(x - left - (1 - right))
                    share_y = tl.abs(y - top - (1 - below))
                    grad_x += product * share_y * (2 * right - 1)
                    grad_y += product * share_x * (2 * below - 1)
                    grad_weight += product * share_x * share_y
                    addend = grad * (weight * share_x * share_y)[:, None]
                    if FIXED_POINT:
                        addend = (addend * scale).to(tl.int64)
                    tl.atomic_add(grad_value + level_start + offset, addend, mask=inside, sem="relaxed")
            location_type = grad_locations.dtype.element_ty
            tl.store(grad_locations + 2 * sample, (grad_x * weight * width).to(location_type), mask=live)
            tl.store(grad_locations + 2 * sample + 1, (grad_y * weight * height).to(location_type), mask=live)
            tl.store(grad_weights + sample, grad_weight.to(grad_weights.dtype.element_ty), mask=live)
        level_start += (height * width).to(tl.int64) * (HEADS * D)
