"""The convolutional CLIP as a Detectron2 backbone: frozen, or with an image tower that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, ShapeSpec
from torch import Tensor, nn

from fcclip.clip.base import ClipBackbone
from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.resnet import ResNetTower

STRIDES = {"stem": 2, "res2": 4, "res3": 8, "res4": 16, "res5": 32}


class ImageTower(Protocol):
    """Dense features of an image, and CLIP embeddings of masks on them."""

    @property
    def channels(self) -> dict[str, int]:
        """Channels of `stem` and `res2` to `res5`."""

    @property
    def convolutional_part(self) -> Sequence[nn.Module]:
        """The modules that make the dense features, without the head that embeds them."""

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> `stem`, `res2` to `res5` (strides 4 to 32) and `clip_vis_dense` (stride 32), contiguous."""

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """`clip_vis_dense` (B, C, h, w) and masks (B, Q, h, w) -> embeddings (B, Q, E), not normalised."""


@BACKBONE_REGISTRY.register()
class CLIP(ClipBackbone):
    """One frozen CLIP: features for the mask generator, and both towers for the out-of-vocabulary classifier.

    Always in eval mode and without gradients, whatever the mode of the model around it.

    Attributes:
        tower: reads the image tower.
        training_tower: the same for training steps, where `fcclip.speed` may put a copy in half precision.
    """

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> None:
        super().__init__(cfg)
        self.tower: ImageTower = image_tower(self.clip_model.visual, self.model_name)
        self.training_tower: ImageTower = self.tower
        self._out_features = [*STRIDES, "clip_embedding"]
        self._out_feature_strides = {**STRIDES, "clip_embedding": -1}
        self._out_feature_channels = {**self.tower.channels, "clip_embedding": self.dim_latent}

    def train(self, mode: bool = True) -> CLIP:
        """Stay in eval mode: batch norm uses its running statistics, nothing is dropped."""
        super().train(False)
        return self

    @property
    def size_divisibility(self) -> int:
        return -1

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features of normalised images.

        Args:
            images: (B, 3, H, W) float32.

        Returns:
            `stem`, `res2` to `res5` (strides 4 to 32) and `clip_vis_dense`, (B, C, H/32, W/32), in the precision of the
            image tower.
        """
        return self.tower.extract_features(images)

    @torch.no_grad()
    def training_features(self, images: Tensor) -> dict[str, Tensor]:
        """The same for a training step."""
        return self.training_tower.extract_features(images)

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        """The same as calling the module."""
        return self(images)

    @torch.no_grad()
    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """CLIP embeddings of masks: `clip_vis_dense` (B, C, h, w) and logits (B, Q, h, w) -> (B, Q, E)."""
        return self.tower.embed_masks(dense.float(), mask_logits)

    def embed_pooled(self, pooled: Tensor) -> Tensor:
        """CLIP's head on averages of `clip_vis_dense`, with gradients: (B, N, C) -> (B, N, E), not normalised."""
        return ConvNeXtTower(self.clip_model.visual).embed_pooled(pooled)

    def require_pooled_head(self, system: str) -> None:
        """Refuse a CLIP that pools by attention, and so has no head for averages.

        Raises:
            ValueError: it does; names the system that cannot use it.
        """
        if not hasattr(self.clip_model.visual, "trunk"):
            raise ValueError(
                f"{system} needs a ConvNeXt CLIP, and {self.model_name} pools by attention; set "
                "MODEL.FC_CLIP.CLIP_MODEL_NAME to convnext_large_d_320 or convnext_base_w_320"
            )

    @torch.no_grad()
    def visual_prediction_forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """The published entry point: pooled features (ConvNeXt) or dense features and masks (ResNet) -> (B, Q, E)."""
        if hasattr(self.clip_model.visual, "trunk"):
            return self.embed_pooled(x)
        if masks is None:
            raise ValueError("a ResNet CLIP pools by attention: pass the mask logits (B, Q, h, w) as well")
        return self.tower.embed_masks(x, masks)


@BACKBONE_REGISTRY.register()
class TrainableCLIP(CLIP):
    """FC-CLIP's backbone, fine-tuned together with the mask generator; the text tower stays frozen.

    The learning rate is multiplied by SOLVER.BACKBONE_MULTIPLIER. Batch norms keep their running statistics.

    Source: the comparison of FC-CLIP (Yu et al., NeurIPS 2023), section 4, in which a trained CLIP forgets what it knew
    of unseen classes.
    """

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> None:
        super().__init__(cfg)
        self.clip_model.visual.requires_grad_(True)

    def training_features(self, images: Tensor) -> dict[str, Tensor]:
        """As for a frozen tower, with gradients."""
        return self.training_tower.extract_features(images)


def image_tower(
    visual: Any, name: str, memory_format: torch.memory_format = torch.contiguous_format
) -> ConvNeXtTower | ResNetTower:
    """How to read an image tower, decided by what it is rather than by its name.

    Args:
        visual: open_clip's module.
        name: of the CLIP, for the error.
        memory_format: of the features.

    Raises:
        ValueError: it is neither a ConvNeXt nor a CLIP ResNet.
    """
    if hasattr(visual, "trunk") and hasattr(visual.trunk, "stages") and hasattr(visual.trunk, "norm_pre"):
        return ConvNeXtTower(visual, memory_format)
    if hasattr(visual, "layer4") and hasattr(visual, "attnpool"):
        return ResNetTower(visual, memory_format)
    raise ValueError(f'the image tower of "{name}" is neither a ConvNeXt nor a CLIP ResNet; choose one of those')
