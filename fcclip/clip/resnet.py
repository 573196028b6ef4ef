"""ResNet CLIP: dense features, and embeddings of masks by CLIP's attention pooling restricted to each mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fcclip.clip.patches import resize_positions


class ResNetTower:
    """Reads open_clip's ModifiedResNet; holds no weights of its own.

    Args:
        visual: the network.
        memory_format: of the features.
    """

    def __init__(self, visual: Any, memory_format: torch.memory_format = torch.contiguous_format) -> None:
        self.visual = visual
        self.memory_format = memory_format

    @property
    def channels(self) -> dict[str, int]:
        visual = self.visual
        layers = [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
        widths = [layer[-1].conv3.out_channels for layer in layers]
        return dict(zip(["stem", "res2", "res3", "res4", "res5"], [visual.conv3.out_channels, *widths], strict=True))

    @property
    def convolutional_part(self) -> list[nn.Module]:
        return [module for name, module in self.visual.named_children() if name != "attnpool"]

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        visual = self.visual
        x = visual.act1(visual.bn1(visual.conv1(images)))
        x = visual.act2(visual.bn2(visual.conv2(x)))
        x = visual.act3(visual.bn3(visual.conv3(x)))
        features = {"stem": x}
        x = visual.avgpool(x)
        for level in range(1, 5):
            x = getattr(visual, f"layer{level}")(x)
            features[f"res{level + 1}"] = x
        features["clip_vis_dense"] = x
        return {name: x.contiguous(memory_format=self.memory_format) for name, x in features.items()}

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """Attention pooling in which a mask's query may look at the mask's positive pixels only.

        The query of CLIP's pooling is the mean feature, so it is the same for every mask: its attention logits are
        computed once, and each mask only normalises them over its own pixels.

        Args:
            dense: (B, C, h, w) features of the last stage.
            mask_logits: (B, Q, h, w), a pixel belongs to a mask where its logit is > 0.

        Returns:
            (B, Q, E); the output projection's bias for a mask without pixels.

        Source: FC-CLIP (Yu et al., NeurIPS 2023), section 3.2; masked attention pooling as in MaskCLIP.
        """
        pool = self.visual.attnpool
        batch, channels, height, width = dense.shape
        heads = pool.num_heads
        positions = pool.positional_embedding.to(dense.dtype)
        tokens = dense.flatten(2).transpose(1, 2)  # (B, hw, C)
        context = tokens + resize_positions(positions[1:], height, width)
        query = tokens.mean(dim=1, keepdim=True) + positions[0]

        def split_heads(x: Tensor) -> Tensor:
            return x.view(batch, -1, heads, channels // heads).transpose(1, 2)

        q = split_heads(pool.q_proj(query)) * (channels // heads) ** -0.5
        logits = q @ split_heads(pool.k_proj(context)).transpose(-1, -2)  # (B, heads, 1, hw)
        inside = (mask_logits > 0).flatten(2)[:, None]  # (B, 1, Q, hw)
        empty = ~inside.any(dim=-1, keepdim=True)  # looks everywhere, as a softmax over nothing is no number
        weights = logits.masked_fill(~(inside | empty), -torch.inf).softmax(dim=-1).masked_fill(empty, 0.0)
        pooled = weights @ split_heads(pool.v_proj(context))
        return pool.c_proj(pooled.transpose(1, 2).reshape(batch, -1, channels))
