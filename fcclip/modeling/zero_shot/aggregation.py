"""One feature map from those of neighbouring blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GaussianAggregation(nn.Module):
    """A weighted sum whose trainable weights start as a Gaussian: the deepest map counts 1, earlier ones less.

    Args:
        maps: how many maps are summed; a single one is passed on as it is, without a weight.

    Source: Cascade-CLIP (Li et al., ICML 2024), section 3.3 (neighbourhood Gaussian aggregation).
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        distance = torch.arange(maps - 1, -1, -1, dtype=torch.float32)
        self.weights = nn.Parameter(torch.exp(-(distance**2) / 2)) if maps > 1 else None

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of equal shape, from the earliest block to the deepest -> their weighted sum."""
        if self.weights is None:
            return maps[0]
        return torch.einsum("m,m...->...", self.weights, torch.stack(list(maps)))
