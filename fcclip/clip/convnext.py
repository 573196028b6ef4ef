"""ConvNeXt CLIP: dense features, and embeddings of masks by pooling them before CLIP's own head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fcclip.clip.convnext_blocks import run_stage
from fcclip.clip.mask_pooling import mask_pool


class ConvNeXtTower:
    """Reads a timm ConvNeXt inside open_clip's timm wrapper; holds no weights of its own.

    Args:
        visual: the wrapper.
        memory_format: of the features.
    """

    def __init__(self, visual: Any, memory_format: torch.memory_format = torch.contiguous_format) -> None:
        self.visual = visual
        self.memory_format = memory_format

    @property
    def channels(self) -> dict[str, int]:
        trunk = self.visual.trunk
        stem = next(module for module in trunk.stem.modules() if isinstance(module, nn.Conv2d)).out_channels
        widths = [stage.blocks[-1].conv_dw.out_channels for stage in trunk.stages]
        return dict(zip(["stem", "res2", "res3", "res4", "res5"], [stem, *widths], strict=True))

    @property
    def convolutional_part(self) -> list[nn.Module]:
        return [self.visual.trunk.stem, self.visual.trunk.stages, self.visual.trunk.norm_pre]

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        trunk = self.visual.trunk
        features = {"stem": trunk.stem(images)}
        x = features["stem"]
        for level, stage in enumerate(trunk.stages, start=2):
            x = run_stage(stage, x)
            features[f"res{level}"] = x
        features["clip_vis_dense"] = trunk.norm_pre(x)
        return {name: x.contiguous(memory_format=self.memory_format) for name, x in features.items()}

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        return self.embed_pooled(mask_pool(dense, mask_logits))

    def embed_pooled(self, pooled: Tensor) -> Tensor:
        """CLIP's head on pooled features: layer norm, then its projection.

        Args:
            pooled: (B, Q, C) means of `clip_vis_dense` over each mask.

        Returns:
            (B, Q, E).
        """
        batch, queries, channels = pooled.shape
        x = self.visual.trunk.head(pooled.reshape(batch * queries, channels, 1, 1))
        return self.visual.head(x).view(batch, queries, -1)
