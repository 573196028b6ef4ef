"""Deep prompts: learned tokens that stand beside the image's tokens in every block of a frozen ViT."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DeepPrompts(nn.Module):
    """Learned tokens for every block, with a projection and a norm that the blocks share.

    Args:
        blocks: number of transformer blocks.
        tokens: prompts a block.
        width: channels D of the transformer.
        patch_size: side of a patch in pixels; decides the range of the initial values.
        dropout: of the projected prompts, drawn anew for every image and block.

    Source: Jia et al., Visual Prompt Tuning, ECCV 2022 ("deep"); ZegCLIP (Zhou et al., CVPR 2023), section 3.3.
    """

    def __init__(self, blocks: int, tokens: int, width: int, patch_size: int, dropout: float) -> None:
        super().__init__()
        bound = (6 / (3 * patch_size**2 + width)) ** 0.5
        self.first = nn.Parameter(torch.empty(1, tokens, width).uniform_(-bound, bound))
        self.deep = nn.Parameter(torch.empty(blocks - 1, tokens, width).uniform_(-bound, bound))
        self.project = nn.Linear(width, width)
        nn.init.kaiming_normal_(self.project.weight, a=0, mode="fan_out")
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    @property
    def tokens(self) -> int:
        return self.first.shape[1]

    def forward(self, block: int, batch: int) -> Tensor:
        """The prompts of a block: (batch, tokens, D)."""
        prompts = self.first if block == 0 else self.deep[block - 1 : block]
        return self.dropout(self.project(prompts).expand(batch, -1, -1))

    def insert(self, x: Tensor, block: int) -> Tensor:
        """Put a block's prompts between class token and patches, in place of the earlier block's.

        Args:
            x: (B, 1 + N, D) before the first block, (B, 1 + P + N, D) before the others.
            block: its number, from 0.

        Returns:
            (B, 1 + P + N, D).
        """
        patches_from = 1 if block == 0 else 1 + self.tokens
        return torch.cat([x[:, :1], self(block, len(x)), x[:, patches_from:]], dim=1)
