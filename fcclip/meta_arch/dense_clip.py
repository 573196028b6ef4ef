"""Baselines: CLIP as it is, asked at every patch (MaskCLIP), and a head that learns from its answers (MaskCLIP+)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from torch import Tensor, nn

from fcclip.clip.vit import ViTCLIP
from fcclip.meta_arch.zero_shot import ZeroShotModel
from fcclip.modeling.zero_shot.labels import pseudo_labels

TEMPERATURE = 100.0  # CLIP's own, at which its training ended


@META_ARCH_REGISTRY.register()
class DenseCLIP(ZeroShotModel):
    """Training-free segmentation: the patches' values are compared with the class names.

    Args:
        shared: arguments of `ZeroShotModel`.

    Source: Zhou et al., "Extract Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022, section 3.2.
    """

    has_unused_parameters = False

    @configurable
    def __init__(self, **shared: Any) -> None:
        super().__init__(**shared, has_head=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        backbone: ViTCLIP = build_backbone(cfg)
        return cls.shared_arguments(cfg, backbone)

    def decode(self, images: Tensor) -> Tensor:
        return self.backbone.dense_patches(images)

    def classify(self, decoded: Tensor, text_embeddings: Tensor) -> Tensor:
        return compare(decoded, text_embeddings)


@META_ARCH_REGISTRY.register()
class DenseCLIPPlus(ZeroShotModel):
    """A small head on the same patches, trained on the labels of seen classes and on guesses for unseen ones.

    The guesses are those of `DenseCLIP` at first and the model's own afterwards.

    Args:
        refine: patches (B, E, h, w) -> what is added to them, of the same shape.
        guided_iterations: training steps in which CLIP guesses.
        shared: arguments of `ZeroShotModel`.

    Source: MaskCLIP+ of the same paper, section 3.4 (there with a DeepLab as the student).
    """

    steps: Tensor
    has_unused_parameters = False

    @configurable
    def __init__(self, *, refine: nn.Module, guided_iterations: int, **shared: Any) -> None:
        super().__init__(**shared)
        self.refine = refine
        self.guided_iterations = guided_iterations
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        backbone: ViTCLIP = build_backbone(cfg)
        return {
            **cls.shared_arguments(cfg, backbone),
            "refine": refinement(backbone.dim_latent),
            "guided_iterations": cfg.MODEL.ZERO_SHOT.GUIDED_ITERATIONS,
        }

    def decode(self, images: Tensor) -> Tensor:
        patches = self.backbone.dense_patches(images)
        return F.normalize(patches + self.refine(patches), dim=1)

    def classify(self, decoded: Tensor, text_embeddings: Tensor) -> Tensor:
        return compare(decoded, text_embeddings)

    def losses_of_crops(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        guided = self.setting == "transductive" and self.steps < self.guided_iterations
        self.steps += 1
        if not guided:
            return super().losses_of_crops(images, labels)
        logits = self.class_logits(self.decode(images), self._train_text(), (images.shape[-2], images.shape[-1]))
        return self.criterion(logits, self._guided_labels(images, labels))

    @torch.no_grad()
    def _guided_labels(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = compare(self.backbone.dense_patches(images), self._train_text().embeddings)
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        return pseudo_labels(labels, logits, self.vocabularies.unseen)


def compare(patches: Tensor, text_embeddings: Tensor) -> Tensor:
    """Unit patches (B, E, h, w) and text rows (K, E) -> scaled cosine similarities (B, K, h, w)."""
    return TEMPERATURE * torch.einsum("behw,ke->bkhw", patches, text_embeddings)


def refinement(width: int) -> nn.Module:
    """Two convolutions (B, E, h, w) -> (B, E, h, w); the last starts at zero, so that training begins at plain CLIP."""
    last = nn.Conv2d(width, width, 3, padding=1)
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU(), last)
