"""Cascade-CLIP: groups of a CLIP's blocks, each with a decoder of its own, whose masks add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from torch import Tensor, nn

from fcclip.clip.patches import PatchFeatures
from fcclip.meta_arch.zegclip import SLOPE, THRESHOLD, Encoder, build_decoder, build_descriptor
from fcclip.meta_arch.zero_shot import ZeroShotModel
from fcclip.modeling.zero_shot.decoder import MaskDecoder
from fcclip.modeling.zero_shot.descriptor import GaussianAggregation, RelationshipDescriptor


@META_ARCH_REGISTRY.register()
class CascadeCLIP(ZeroShotModel):
    """Zero-shot semantic segmentation from several depths of a prompt-tuned ViT CLIP.

    Args:
        block_groups: numbers of the blocks whose patches each decoder sees, from 0 or, if negative, from the end.
        descriptors, decoders: one per group.
        shared: arguments of `ZeroShotModel`.

    Source: Li et al., "Cascade-CLIP: Cascaded Vision-Language Embeddings Alignment for Zero-Shot Semantic
    Segmentation", ICML 2024, figure 3.
    """

    @configurable
    def __init__(
        self,
        *,
        block_groups: Sequence[Sequence[int]],
        descriptors: Sequence[RelationshipDescriptor],
        decoders: Sequence[MaskDecoder],
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        self.block_groups = block_groups
        self.aggregations = nn.ModuleList(GaussianAggregation(len(group)) for group in block_groups)
        self.descriptors = nn.ModuleList(descriptors)
        self.decoders = nn.ModuleList(decoders)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        backbone: Encoder = build_backbone(cfg)
        groups = cfg.MODEL.ZERO_SHOT.BLOCK_GROUPS
        decoders = [build_decoder(cfg, backbone) for _ in groups]
        if cfg.MODEL.ZERO_SHOT.ALIGNED_START:
            for decoder in decoders[:-1]:
                decoder.start_silent()
            decoders[-1].start_aligned(SLOPE, THRESHOLD)  # only the deepest patches are in CLIP's joint space
        return {
            **cls.shared_arguments(cfg, backbone),
            "block_groups": groups,
            "descriptors": [build_descriptor(cfg, backbone) for _ in groups],
            "decoders": decoders,
        }

    def decode(self, images: Tensor) -> PatchFeatures:
        return self.backbone(images)

    def classify(self, decoded: PatchFeatures, text_embeddings: Tensor) -> Tensor:
        stages = zip(self.block_groups, self.aggregations, self.descriptors, self.decoders, strict=True)
        logits = []
        for group, aggregate, descriptor, decoder in stages:
            patches = aggregate([decoded.patches[block % self.backbone.depth] for block in group])
            queries = descriptor(text_embeddings, decoded.image)
            logits.append(decoder(queries, patches))
        return torch.stack(logits).sum(dim=0)
