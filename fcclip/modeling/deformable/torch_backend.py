"""Deformable attention in plain PyTorch: runs everywhere, and is what the other backends are checked against."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CPU_CHUNK = 1024  # queries


def sample_torch(
    value: Tensor,
    shapes: Sequence[tuple[int, int]],
    locations: Tensor,
    weights: Tensor,
    chunk: int | None = CPU_CHUNK,
) -> Tensor:
    """Weighted sum of bilinear samples.

    On a CPU the queries go through in chunks whose samples stay in the cache, four times as fast as all at once.

    Args:
        value: (B, M, heads, d), the levels one after another.
        shapes: (height, width) of each level.
        locations: (B, N, heads, levels, points, 2), (x, y) in [0, 1]; zero is sampled outside.
        weights: (B, N, heads, levels, points).
        chunk: queries that go through a CPU at a time; None: all, whose number may then be known only at run time.

    Returns:
        (B, N, heads * d) in the type of `value`; computed in the widest type of the three tensors.
    """
    batch, length, heads = weights.shape[:3]
    dtype = torch.promote_types(torch.promote_types(value.dtype, locations.dtype), weights.dtype)
    maps = [
        level.permute(0, 2, 3, 1).reshape(batch * heads, -1, height, width)
        for level, (height, width) in zip(
            value.to(dtype).split([height * width for height, width in shapes], dim=1), shapes, strict=True
        )
    ]
    locations, weights = locations.to(dtype), weights.to(dtype)
    if chunk is None or value.device.type != "cpu":
        sampled = _sample_chunk(maps, locations, weights)
    else:
        chunks = zip(locations.split(chunk, dim=1), weights.split(chunk, dim=1), strict=True)
        sampled = torch.cat([_sample_chunk(maps, *tensors) for tensors in chunks], dim=-1)
    return sampled.view(batch, -1, length).transpose(1, 2).to(value.dtype)


def _sample_chunk(maps: list[Tensor], locations: Tensor, weights: Tensor) -> Tensor:
    """Maps (B * heads, d, height, width) of each level -> (B * heads, d, queries)."""
    grids = (2 * locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (levels, B * heads, points, queries, 2)
    weights = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None]  # (levels, B * heads, 1, points, queries)
    total: Tensor | None = None
    for level, grid, weight in zip(maps, grids, weights, strict=True):
        samples = F.grid_sample(level, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        part = (samples * weight).sum(dim=2)
        total = part if total is None else total + part
    assert total is not None  # there is at least one level
    return total
