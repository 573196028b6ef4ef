"""The tokens of open_clip's ViT: into its blocks, beside learned prompts, through them, and as a map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fcclip.clip.patches import resize_positions


def embed_patches(
    visual: Any, images: Tensor, class_embeddings: int = 1, positions: Tensor | None = None
) -> tuple[Tensor, tuple[int, int]]:
    """The tokens that enter the first block.

    Args:
        visual: open_clip's VisionTransformer.
        images: (B, 3, H, W), normalised; positions are brought to their grid.
        class_embeddings: how often the class embedding is added: once in CLIP; twice in the published zero-shot
            systems, to the class token and to its position.
        positions: (1 + h * w, D) in place of the model's own.

    Returns:
        (B, 1 + h * w, D), and (h, w).
    """
    patches = visual.conv1(images)
    height, width = patches.shape[-2:]
    positions = visual.positional_embedding if positions is None else positions
    class_token = (class_embeddings * visual.class_embedding + positions[0]).expand(images.shape[0], 1, -1)
    patches = patches.flatten(2).transpose(1, 2) + resize_positions(positions[1:], height, width)
    return visual.ln_pre(torch.cat([class_token, patches], dim=1)), (height, width)


def run_block(visual: Any, layer: nn.Module, x: Tensor) -> Tensor:
    """One block of open_clip, which takes (batch, length, width) since 2.26 and (length, batch, width) before."""
    if hasattr(visual.transformer, "batch_first"):
        return layer(x)
    return layer(x.transpose(0, 1)).transpose(0, 1)


def joint_tokens(visual: Any, images: Tensor, positions: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
    """What plain CLIP makes of the class token, for all tokens: (B, 1 + h * w, E) in its joint space, and (h, w).

    Args:
        positions: as for `embed_patches`.
    """
    x, grid = embed_patches(visual, images, positions=positions)
    for layer in visual.transformer.resblocks:
        x = run_block(visual, layer, x)
    return visual.ln_post(x) @ visual.proj, grid


def patch_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The last h * w of (B, L, E) tokens as (B, E, h, w)."""
    return tokens[:, -grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)


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
        return torch.cat([x[:, :1], self(block, x.shape[0]), x[:, patches_from:]], dim=1)
