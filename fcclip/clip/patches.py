"""Places of an image tower: learned positions on any grid, and joint-space vectors from several depths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PatchFeatures:
    """All vectors have length 1.

    Attributes:
        patches: block (or stage) of the encoder -> (B, E, h, w), for those that were asked for; one grid for all.
        image: (B, E), the image as a whole.
    """

    patches: dict[int, Tensor]
    image: Tensor


def earlier_blocks(groups: Sequence[Sequence[int]], depth: int) -> tuple[int, ...]:
    """Ascending numbers of all blocks in MODEL.ZERO_SHOT.BLOCK_GROUPS, less the last block of the encoder.

    Args:
        groups: numbers from 0 or, if negative, from the end.
        depth: number of blocks that the encoder has.

    Raises:
        ValueError: there is no such block.
    """
    blocks = {block for group in groups for block in group}
    for block in blocks:
        if not -depth <= block < depth:
            raise ValueError(f"MODEL.ZERO_SHOT.BLOCK_GROUPS names block {block}; this CLIP has blocks 0 to {depth - 1}")
    return tuple(sorted({block % depth for block in blocks} - {depth - 1}))


def resize_positions(positions: Tensor, height: int, width: int) -> Tensor:
    """Resize a square grid of positional embeddings, bilinearly: (s * s, C) -> (height * width, C), row by row."""
    side = round(len(positions) ** 0.5)
    if isinstance(height, int) and (height, width) == (side, side):  # a size that is traced is unknown, and no int
        return positions
    grid = positions.T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)
    return grid.flatten(2)[0].T
