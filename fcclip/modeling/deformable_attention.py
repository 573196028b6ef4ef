"""Multi-scale deformable attention: every query samples a few points of every level of a feature pyramid."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "torch", "native")
NATIVE_PACKAGE = "torch_ms_deform_attn"
CPU_CHUNK = 1024  # queries

Shapes = Sequence[tuple[int, int]]


class MSDeformAttn(nn.Module):
    """Deformable attention of queries to a flattened pyramid.

    Args:
        width: channels of queries, values and output.
        levels, heads, points: sampled levels, attention heads, points by head and level.
        backend: who samples: "torch", "native" (package torch-ms-deform-attn), or "auto".

    Source: Deformable DETR (Zhu et al., ICLR 2021), section 4.1.
    """

    def __init__(self, width: int, levels: int, heads: int, points: int, backend: str = "auto") -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}")
        self.levels, self.heads, self.points = levels, heads, points
        self.backend = resolve_backend(backend)
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
        weights = self.attention_weights(query).view(batch, length, self.heads, -1).softmax(dim=-1).view(split)
        sizes = query.new_tensor([(width, height) for height, width in shapes])
        locations = reference_points[:, None, None, None] + offsets / sizes[:, None]
        sample = sample_native if self.backend == "native" else sample_torch
        return self.output_proj(sample(value, shapes, locations, weights))


def sample_torch(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples, in plain PyTorch.

    On a CPU the queries go through in chunks whose samples stay in the cache, four times as fast as all at once.

    Args:
        value: (B, M, heads, d), the levels one after another.
        shapes: (height, width) of each level.
        locations: (B, N, heads, levels, points, 2), (x, y) in [0, 1]; zero is sampled outside.
        weights: (B, N, heads, levels, points).

    Returns:
        (B, N, heads * d).
    """
    batch, length, heads = weights.shape[:3]
    maps = [
        level.permute(0, 2, 3, 1).reshape(batch * heads, -1, height, width)
        for level, (height, width) in zip(
            value.split([height * width for height, width in shapes], dim=1), shapes, strict=True
        )
    ]
    size = CPU_CHUNK if value.device.type == "cpu" else length
    chunks = zip(locations.split(size, dim=1), weights.split(size, dim=1), strict=True)
    sampled = torch.cat([_sample_chunk(maps, *chunk) for chunk in chunks], dim=-1)
    return sampled.view(batch, -1, length).transpose(1, 2)


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


def sample_native(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The same by the compiled operator of the package torch-ms-deform-attn; arguments as in :func:`sample_torch`."""
    from torch_ms_deform_attn import ms_deform_attn

    areas = [height * width for height, width in shapes]
    starts = torch.tensor([sum(areas[:level]) for level in range(len(areas))], device=value.device)
    shape_tensor = torch.tensor(list(shapes), device=value.device)
    return ms_deform_attn(value.contiguous(), shape_tensor, starts, locations.contiguous(), weights.contiguous())


@cache
def resolve_backend(choice: str) -> str:
    """Turn "auto" into what is installed here, and refuse what is not.

    Raises:
        ValueError: if ``choice`` is no backend, or "native" is not installed.
    """
    if choice not in BACKENDS:
        raise ValueError(f'there is no deformable attention "{choice}"; choose one of {", ".join(BACKENDS)}')
    installed = importlib.util.find_spec(NATIVE_PACKAGE) is not None
    if choice == "native" and not installed:
        raise ValueError('native deformable attention needs "pip install torch-ms-deform-attn"; or choose "torch"')
    if choice == "auto":
        choice = "native" if installed else "torch"
        logger.info("deformable attention: %s", choice)
    return choice
