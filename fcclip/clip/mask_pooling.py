"""Averages of features over masks."""

from __future__ import annotations

from torch import Tensor


def mask_pool(features: Tensor, mask_logits: Tensor) -> Tensor:
    """Average features over the pixels of each mask.

    Args:
        features: (B, C, h, w).
        mask_logits: (B, Q, h, w), a pixel belongs to mask q where its logit is > 0.

    Returns:
        (B, Q, C); the zero vector for a mask without pixels. Gradients flow to the features only.

    Source: FC-CLIP (Yu et al., NeurIPS 2023), section 3.2.
    """
    weights = (mask_logits.detach() > 0).to(features.dtype).flatten(2)
    weights /= weights.sum(dim=-1, keepdim=True).clamp(min=1)  # exporters drop an epsilon as small as 1e-8
    return weights @ features.flatten(2).transpose(1, 2)
