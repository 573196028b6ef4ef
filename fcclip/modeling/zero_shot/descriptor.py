"""From a class name to a query that knows the image."""

from __future__ import annotations

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

    def forward(self, text: Tensor, image: Tensor) -> Tensor:
        """Text (K, E) and image (B, E) embeddings -> queries (B, K, E)."""
        text = text.expand(len(image), -1, -1)
        if not self.use_image:
            return self.project(text)
        return self.project(torch.cat([image[:, None] * text, text], dim=-1))
