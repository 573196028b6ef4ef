"""Learned positions of an image tower, brought to another grid."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize_positions(positions: Tensor, height: int, width: int) -> Tensor:
    """Resize a square grid of positional embeddings, bilinearly: (s * s, C) -> (height * width, C), row by row."""
    side = round(len(positions) ** 0.5)
    if (height, width) == (side, side):
        return positions
    grid = positions.T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)
    return grid.flatten(2)[0].T
