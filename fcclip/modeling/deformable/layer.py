"""The layer: projections around the sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from fcclip.modeling.constants import cached_constant
from fcclip.modeling.deformable.backends import Shapes, check_backend, choose_backend, sampler


class MSDeformAttn(nn.Module):
    """Deformable attention of queries to a flattened pyramid.

    Args:
        width: channels of queries, values and output.
        levels, heads, points: sampled levels, attention heads, points by head and level.
        backend: who samples, one of :data:`~fcclip.modeling.deformable.BACKENDS`; "auto" chooses by device.

    Source: Deformable DETR (Zhu et al., ICLR 2021), section 4.1.
    """

    def __init__(self, width: int, levels: int, heads: int, points: int, backend: str = "auto") -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}")
        check_backend(backend)
        self.levels, self.heads, self.points, self.backend = levels, heads, points, backend
        self.sampling_offsets = nn.Linear(width, heads * levels * points * 2)
        self.attention_weights = nn.Linear(width, heads * levels * points)
        self.value_proj = nn.Linear(width, width)
        self.output_proj = nn.Linear(width, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Head m looks in direction m of a star, point k at distance k + 1; attention starts uniform."""
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = directions[:, None, None] * steps[:, None]  # (heads, 1, points, 2)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)

    def forward(self, query: Tensor, reference_points: Tensor, values: Tensor, shapes: Shapes) -> Tensor:
        """Sample around the reference points.

        Args:
            query: (B, N, D).
            reference_points: (N, 2), (x, y) in [0, 1], the same for every level.
            values: (B, M, D), the levels one after another, M the sum of their areas.
            shapes: (height, width) of each level.

        Returns:
            (B, N, D).
        """
        batch, length, _ = query.shape
        split = (batch, length, self.heads, self.levels, self.points)
        value = self.value_proj(values).unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).view(*split, 2)
        # Queries last in memory: a softmax over the few samples of a query is many times slower, and what multiplies
        # samples by weights reads them in that order.
        logits = self.attention_weights(query).view(batch, length, self.heads, -1).permute(0, 2, 3, 1)
        weights = logits.softmax(dim=2).permute(0, 3, 1, 2).unflatten(-1, split[-2:])
        sizes = _level_sizes(tuple(shapes), self.heads, self.points, query.device)
        # The sizes are float32, and so are the locations of half-precision queries: in bfloat16 they would lie half a
        # pixel off.
        locations = reference_points[:, None, None, None] + offsets / sizes
        sample = sampler(choose_backend(self.backend, query.device))
        return self.output_proj(sample(value, shapes, locations, weights))


@cached_constant(maxsize=16)
def _level_sizes(shapes: tuple[tuple[int, int], ...], heads: int, points: int, device: torch.device) -> Tensor:
    """(heads, levels, points, 2): width and height of each level; repeated, since a division by fewer is slower."""
    sizes = torch.tensor([(width, height) for height, width in shapes], dtype=torch.float32, device=device)
    return sizes[:, None].repeat(heads, 1, points, 1)
