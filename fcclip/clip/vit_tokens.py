"""The tokens of open_clip's ViT: into its blocks, through them, and as a map."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fcclip.clip.positions import resize_positions


def embed_patches(visual: Any, images: Tensor, class_embeddings: int = 1) -> tuple[Tensor, tuple[int, int]]:
    """The tokens that enter the first block.

    Args:
        visual: open_clip's VisionTransformer.
        images: (B, 3, H, W), normalised; positions are brought to their grid.
        class_embeddings: how often the class embedding is added: once in CLIP; twice in the published zero-shot
            systems, to the class token and to its position.

    Returns:
        (B, 1 + h * w, D), and (h, w).
    """
    patches = visual.conv1(images)
    height, width = patches.shape[-2:]
    positions = visual.positional_embedding
    class_token = (class_embeddings * visual.class_embedding + positions[0]).expand(len(images), 1, -1)
    patches = patches.flatten(2).transpose(1, 2) + resize_positions(positions[1:], height, width)
    return visual.ln_pre(torch.cat([class_token, patches], dim=1)), (height, width)


def run_block(visual: Any, layer: nn.Module, x: Tensor) -> Tensor:
    """One block of open_clip, which takes (batch, length, width) since 2.26 and (length, batch, width) before."""
    if hasattr(visual.transformer, "batch_first"):
        return layer(x)
    return layer(x.transpose(0, 1)).transpose(0, 1)


def joint_tokens(visual: Any, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """What plain CLIP makes of the class token, for all tokens: (B, 1 + h * w, E) in its joint space, and (h, w)."""
    x, grid = embed_patches(visual, images)
    for layer in visual.transformer.resblocks:
        x = run_block(visual, layer, x)
    return visual.ln_post(x) @ visual.proj, grid


def patch_map(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The last h * w of (B, L, E) tokens as (B, E, h, w)."""
    return tokens[:, -grid[0] * grid[1] :].transpose(1, 2).unflatten(2, grid)
