"""Deformable attention by plain gathers: for engines whose `GridSample` is slow, wrong or missing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sample_by_gather(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples; arguments and result as in `~.torch_backend.sample_torch`."""
    batch, length, _heads = weights.shape[:3]
    levels = value.split([height * width for height, width in shapes], dim=1)
    total: Tensor | None = None
    for number, (level, (height, width)) in enumerate(zip(levels, shapes, strict=True)):
        x = locations[:, :, :, number, :, 0] * width - 0.5  # (B, N, heads, points)
        y = locations[:, :, :, number, :, 1] * height - 0.5
        left, top = x.floor(), y.floor()
        share_x, share_y = x - left, y - top
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            column, row = left + dx, top + dy
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            area = (share_x if dx else 1 - share_x) * (share_y if dy else 1 - share_y)
            share = weights[:, :, :, number] * area * inside
            part = (_pick(level, row.clamp(0, height - 1) * width + column.clamp(0, width - 1)) * share[..., None]).sum(
                3
            )
            total = part if total is None else total + part
    assert total is not None  # there is at least one level
    return total.to(value.dtype).reshape(batch, length, -1)


def _pick(level: Tensor, places: Tensor) -> Tensor:
    """Values (B, M, heads, d) at places (B, N, heads, points), whole numbers below M -> (B, N, heads, points, d)."""
    batch, size, heads, width = level.shape
    images = torch.arange(batch, device=level.device)[:, None, None, None] * (size * heads)
    which = images + places.long() * heads + torch.arange(heads, device=level.device)[:, None]
    return level.reshape(-1, width)[which.flatten()].view(*places.shape, width)
