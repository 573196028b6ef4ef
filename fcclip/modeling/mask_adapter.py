"""Mask-Adapter: learned weight maps in place of the plain average of CLIP's features over a mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fcclip.inference.bands import FLOAT_BYTES
from fcclip.modeling.constants import is_recording

BLOCK_EPSILON = 1e-6
EXPANSION = 4  # of a block's width inside it


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each place of a map (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A block of ConvNeXt, on maps (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=BLOCK_EPSILON)
        self.pwconv1 = nn.Linear(channels, EXPANSION * channels)
        self.pwconv2 = nn.Linear(EXPANSION * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        return x + (self.gamma * self.pwconv2(F.gelu(self.pwconv1(inner)))).permute(0, 3, 1, 2)


@SEM_SEG_HEADS_REGISTRY.register()
class MASKAdapterHead(nn.Module):
    """Sees CLIP's embedding of every place and a mask, and says how much each place tells of what the mask shows.

    Args:
        embed_dim: E, of CLIP's embeddings.
        channels: width of the blocks.
        mask_channels: of the small encoder of masks.
        maps: K, weight maps per mask.
        threshold: probability above which a pixel belongs to a mask.
        recompute: compute the blocks again in the backward pass instead of keeping what they hold.
        chunk_bytes: that the widest activations of the masks in one go may take at inference.

    Source: Li et al., "Mask-Adapter: The Devil is in the Masks for Open-Vocabulary Segmentation", CVPR 2025.
    """

    @configurable
    def __init__(
        self,
        *,
        embed_dim: int,
        channels: int = 768,
        mask_channels: int = 16,
        maps: int = 16,
        threshold: float = 0.5,
        recompute: bool = False,
        chunk_bytes: int = 2**26,
    ) -> None:
        super().__init__()
        self.fuse = nn.Conv2d(embed_dim, channels, 1)
        self.cnext1, self.cnext2, self.cnext3 = (Block(channels) for _ in range(3))
        self.norm = nn.LayerNorm(channels)
        self.final = nn.Conv2d(channels, maps, 1)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, mask_channels // 4, 3, stride=2, padding=1),
            ChannelNorm(mask_channels // 4, eps=BLOCK_EPSILON),
            nn.GELU(),
            nn.Conv2d(mask_channels // 4, mask_channels, 3, stride=2, padding=1),
            ChannelNorm(mask_channels, eps=BLOCK_EPSILON),
            nn.GELU(),
            nn.Conv2d(mask_channels, embed_dim, 1),
        )
        self.maps, self.threshold = maps, threshold
        self._recompute, self._chunk_bytes = recompute, chunk_bytes

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.MASK_ADAPTER
        return {
            "embed_dim": cfg.MODEL.FC_CLIP.EMBED_DIM,
            "channels": node.NUM_CHANNELS,
            "mask_channels": node.MASK_IN_CHANNELS,
            "maps": node.NUM_OUTPUT_MAPS,
            "threshold": node.MASK_THRESHOLD,
            "recompute": node.USE_CHECKPOINT,
            "chunk_bytes": node.CHUNK_MB * 2**20,
        }

    def forward(self, places: Tensor, masks: Tensor) -> Tensor:
        """The logits of the weight maps, each mask on its own.

        Args:
            places: (B, E, h, w), CLIP's embedding of every place.
            masks: (B, N, H, W), 0 or 1, of any resolution.

        Returns:
            (B, N, K, h, w).
        """
        fused = self.fuse(places)
        return torch.stack([self._maps(*pair) for pair in zip(fused, masks, strict=True)])

    @torch.no_grad()
    def embed_masks(
        self, features: Tensor, places: Tensor, mask_logits: Tensor, embed: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """CLIP embeddings of masks, by the mean of features with each of the K maps.

        Equal masks, such as the empty ones, are computed once.

        Args:
            features: (B, C, h, w) of CLIP, to be averaged.
            places: see `forward`.
            mask_logits: (B, Q, H, W).
            embed: CLIP's head, (1, n, C) -> (1, n, E).

        Returns:
            (B, Q, E), not normalised.
        """
        binary = mask_logits.float().sigmoid() > self.threshold
        fused = self.fuse(places)
        embedded = []
        for image_features, image_fused, masks in zip(features, fused, binary, strict=True):
            distinct, row_of_mask = distinct_masks(masks)
            chunks = self._chunks(distinct, image_fused)
            rows = [self._embed(image_features, image_fused, chunk, embed) for chunk in chunks]
            embedded.append(torch.cat(rows)[row_of_mask])
        return torch.stack(embedded)

    def embed(self, features: Tensor, places: Tensor, masks: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        """CLIP embeddings (n, E) of masks of one image, not normalised, with gradients.

        Args:
            features: (C, h, w) of CLIP, to be averaged.
            places: (E, h, w), see `forward`.
            masks: (n, H, W), from 0 to 1, of any resolution.
            embed: CLIP's head, (1, n, C) -> (1, n, E).
        """
        return self._embed(features, self.fuse(places[None])[0], masks, embed)

    def _embed(self, features: Tensor, fused: Tensor, masks: Tensor, embed: Callable[[Tensor], Tensor]) -> Tensor:
        """Embeddings (n, E) of masks (n, H, W) of one image."""
        pooled = weighted_means(features[None], self._maps(fused, masks.float())[None])
        return embed(pooled.flatten(1, 2)).unflatten(1, (len(masks), self.maps)).mean(dim=2)[0]

    def _maps(self, fused: Tensor, masks: Tensor) -> Tensor:
        """Logits (n, K, h, w) for masks (n, H, W) of one image, whose `fused` is (channels, h, w).

        `fuse` is linear: what it makes of the image is the same for all masks, and what it makes of a mask is one
        matrix together with the last layer of the mask's encoder.
        """
        height, width = fused.shape[-2:]
        size = (4 * height, 4 * width)
        x = F.interpolate(masks[:, None], size=size, mode="bilinear", align_corners=False)
        encoder, last = self.mask_downscaling[:-1], cast("Any", self.mask_downscaling[-1])
        matrix = self.fuse.weight.flatten(1)
        weight, bias = matrix @ last.weight.flatten(1), matrix @ last.bias
        x = fused + F.conv2d(encoder(x), weight[:, :, None, None], bias)
        x = x.contiguous(memory_format=torch.channels_last)
        if self._recompute and torch.is_grad_enabled():
            return checkpoint(self.blocks, x, use_reentrant=False)
        return self.blocks(x)

    def blocks(self, x: Tensor) -> Tensor:
        """Maps (N, channels, h, w) -> logits (N, K, h, w): where nearly all of the time goes."""
        x = self.cnext3(self.cnext2(self.cnext1(x)))
        x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.final(x)

    def _chunks(self, masks: Tensor, fused: Tensor) -> Iterator[Tensor]:
        """Masks (n, H, W), as many at a time as the memory allows, at least one."""
        bytes_per_mask = FLOAT_BYTES * EXPANSION * fused.numel()
        return iter(masks.split(max(1, self._chunk_bytes // bytes_per_mask)))


def build_mask_adapter(cfg: CfgNode) -> nn.Module | None:
    """The module that MODEL.MASK_ADAPTER.NAME names; None for no name."""
    name = cfg.MODEL.MASK_ADAPTER.NAME
    return SEM_SEG_HEADS_REGISTRY.get(name)(cfg) if name else None


def weighted_means(features: Tensor, maps: Tensor) -> Tensor:
    """Means of features, weighted by the sigmoid of each map.

    Args:
        features: (B, C, h, w).
        maps: (B, N, K, h, w) logits.

    Returns:
        (B, N, K, C).
    """
    weights = F.logsigmoid(maps.flatten(3)).softmax(dim=-1)
    return (weights.flatten(1, 2) @ features.flatten(2).transpose(1, 2)).unflatten(1, maps.shape[1:3])


def distinct_masks(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Each mask that differs from the others once, and the place of every mask among those.

    What is recorded as a graph keeps them all, since their number must not depend on the picture.

    Args:
        masks: (N, H, W) bool.

    Returns:
        (n, H, W) bool, and (N,) indices into it.
    """
    if is_recording():
        return masks, torch.arange(masks.shape[0], device=masks.device)
    distinct, row_of_mask = masks.flatten(1).unique(dim=0, return_inverse=True)
    return distinct.view(-1, *masks.shape[1:]), row_of_mask
