"""Fixed positional encodings."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fcclip.modeling.constants import cached_constant


@cached_constant(maxsize=64)
def sine_encoding(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Sine encoding of the pixels of a map, rows in the first half of the channels, columns in the second.

    Returns:
        (channels, height, width) float32; shared between calls, so it must not be written to.

    Source: DETR (Carion et al., ECCV 2020), with coordinates scaled to (0, 2 pi].
    """
    half = channels // 2
    index = torch.arange(half, dtype=torch.float32, device=device)
    frequency = 10000 ** (2 * torch.div(index, 2, rounding_mode="floor") / half)
    rows = _axis(height, device)[:, None] / frequency
    columns = _axis(width, device)[:, None] / frequency
    rows = _sine_cosine(rows).T[:, :, None].expand(half, height, width)
    columns = _sine_cosine(columns).T[:, None, :].expand(half, height, width)
    return torch.cat([rows, columns])


def _axis(size: int, device: torch.device) -> Tensor:
    return torch.arange(1, size + 1, dtype=torch.float32, device=device) / (size + 1e-6) * (2 * math.pi)


def _sine_cosine(angles: Tensor) -> Tensor:
    """Sine in the even channels, cosine in the odd ones."""
    return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=2).flatten(1)
