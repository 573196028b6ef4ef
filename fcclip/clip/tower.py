"""What the backbone needs of a convolutional CLIP's image tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn


class ImageTower(Protocol):
    """Dense features of an image, and CLIP embeddings of masks on them."""

    @property
    def channels(self) -> dict[str, int]:
        """Channels of ``stem`` and ``res2`` to ``res5``."""

    @property
    def convolutional_part(self) -> Sequence[nn.Module]:
        """The modules that make the dense features, without the head that embeds them."""

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> ``stem``, ``res2`` to ``res5`` (strides 4 to 32) and ``clip_vis_dense`` (stride 32)."""

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """``clip_vis_dense`` (B, C, h, w) and masks (B, Q, h, w) -> embeddings (B, Q, E), not normalised."""
