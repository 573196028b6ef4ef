"""CLIP's embeddings of the tiles of mosaics, so that its places learn to tell what they are part of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.mask_pooling import mask_pool
from fcclip.clip.vit_tokens import joint_tokens, patch_map
from fcclip.config import CLIP_PIXEL_MEAN, CLIP_PIXEL_STD
from fcclip.data.panoshapes.batches import Mosaics

MIDDLE = 0.75  # share of a tile's side


def embed_tiles(model: Any, mosaics: Mosaics) -> Tensor:
    """A ConvNeXt CLIP's embeddings of the tiles, (n * grid**2, E), row by row.

    The mean features of each tile go through CLIP's head. In training a random half of the places in the middle of a
    tile makes the mean, so that each of them learns to tell what it is part of, as masks need it.
    """
    tower = ConvNeXtTower(model.visual)
    dense = tower.extract_features(normalize_pixels(mosaics.images))["clip_vis_dense"]
    return tower.embed_pooled(_pool_tiles(dense, mosaics.grid, model.training)).flatten(0, 1)


def embed_masks(model: Any, images: Tensor, masks: Tensor) -> Tensor:
    """CLIP's embeddings of masks of normalised images: means of its features, or of a ViT's patches, over each.

    Args:
        images: (B, 3, H, W).
        masks: (B, Q, H, W) bool.

    Returns:
        (B, Q, E).
    """
    if is_convolutional(model):
        tower = ConvNeXtTower(model.visual)
        dense = tower.extract_features(images)["clip_vis_dense"]
        return tower.embed_masks(dense, _at_places(masks, dense))
    patches = patch_map(*joint_tokens(model.visual, images))
    return mask_pool(patches, _at_places(masks, patches))


def _at_places(masks: Tensor, dense: Tensor) -> Tensor:
    """Logits of the masks at the places of a feature map, positive where a mask has more than half of a place."""
    return F.interpolate(masks.float() * 2 - 1, size=dense.shape[-2:], mode="area")


def _pool_tiles(dense: Tensor, grid: int, training: bool) -> Tensor:
    """Features (n, C, h, w) -> the mean of each tile's, (n, grid**2, C)."""
    weights = _place_weights(dense, grid) if training else torch.ones_like(dense[:, :1])
    pooled = F.adaptive_avg_pool2d(dense * weights, grid) / F.adaptive_avg_pool2d(weights, grid)
    return pooled.flatten(2).transpose(1, 2)


def _place_weights(dense: Tensor, grid: int) -> Tensor:
    """What each place (B, 1, h, w) of mosaics' features counts: a random half of the middle of every tile in full."""
    side = dense.shape[-1]
    offset = ((torch.arange(side) + 0.5) * grid / side % 1 * 2 - 1).abs()  # from the tile's centre, 1 at its border
    middle = torch.maximum(offset[:, None], offset) < MIDDLE
    chosen = torch.rand(len(dense), 1, side, side) < 0.5
    return (middle & chosen) + 0.05 * middle + 0.001  # a tile of which nothing was chosen has a mean as well


def is_convolutional(model: Any) -> bool:
    """Whether a CLIP's image tower is a ConvNeXt of timm, not a ViT."""
    return hasattr(model.visual, "trunk")


def normalize_pixels(images: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 -> float32 with CLIP's mean and deviation taken out."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_PIXEL_MEAN, CLIP_PIXEL_STD))
    return (images.float() - mean) / deviation
