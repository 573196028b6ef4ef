"""What the decoders of the zero-shot systems are given: queries that know the image, and maps of several blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class RelationshipDescriptor(nn.Module):
    """Queries from how each class's text embedding and the image's embedding agree, and the text embedding itself.

    Args:
        width: E, of the joint space and of the queries.
        use_image: without it the text embedding alone is projected (the ablation "without descriptor").

    Source: ZegCLIP (Zhou et al., CVPR 2023), section 3.3, equation 6.
    """

    def __init__(self, width: int, use_image: bool = True) -> None:
        super().__init__()
        self.use_image = use_image
        self.project = nn.Linear(2 * width if use_image else width, width)

    @torch.no_grad()
    def start_aligned(self) -> None:
        """Let the queries be the text embeddings at first."""
        width = self.project.out_features
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.project.weight[:, -width:] = torch.eye(width)

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """Text (K, E) and image (B, E) embeddings -> queries (B, K, E)."""
        text = text.expand(image.shape[0], -1, -1)
        if not self.use_image:
            return self.project(text)
        return self.project(torch.cat([image[:, None] * text, text], dim=-1))


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
