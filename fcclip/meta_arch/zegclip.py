"""ZegCLIP: one prompt-tuned CLIP, whose patches are matched with class names in a single stage."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_backbone
from torch import Tensor

from fcclip.clip.dense_convnext import DenseConvNeXtCLIP
from fcclip.clip.patches import PatchFeatures
from fcclip.clip.vit import ViTCLIP
from fcclip.meta_arch.zero_shot import ZeroShotModel
from fcclip.modeling.zero_shot.decoder import MaskDecoder
from fcclip.modeling.zero_shot.descriptor import RelationshipDescriptor

Encoder = ViTCLIP | DenseConvNeXtCLIP
# Of the masks that an aligned start begins with: a logistic regression on the small ViT CLIP of PanoShapes, with the
# labels of seen classes in 24 training scenes.
SLOPE = 17.0
THRESHOLD = 0.55


@META_ARCH_REGISTRY.register()
class ZegCLIP(ZeroShotModel):
    """Zero-shot semantic segmentation with a prompt-tuned ViT CLIP.

    Args:
        descriptor: class names and image to queries.
        decoder: queries and patches to masks.
        shared: arguments of `ZeroShotModel`.

    Source: Zhou et al., "ZegCLIP: Towards Adapting CLIP for Zero-shot Semantic Segmentation", CVPR 2023, figure 2.
    """

    @configurable
    def __init__(self, *, descriptor: RelationshipDescriptor, decoder: MaskDecoder, **shared: Any) -> None:
        super().__init__(**shared)
        self.descriptor = descriptor
        self.decoder = decoder

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        backbone: Encoder = build_backbone(cfg)
        decoder = build_decoder(cfg, backbone)
        if cfg.MODEL.ZERO_SHOT.ALIGNED_START:
            decoder.start_aligned(SLOPE, THRESHOLD)
        return {
            **cls.shared_arguments(cfg, backbone),
            "descriptor": build_descriptor(cfg, backbone),
            "decoder": decoder,
        }

    def decode(self, images: Tensor) -> PatchFeatures:
        return self.backbone(images)

    def classify(self, decoded: PatchFeatures, text_embeddings: Tensor) -> Tensor:
        queries = self.descriptor(text_embeddings, decoded.image)
        return self.decoder(queries, decoded.patches[self.backbone.depth - 1])


def build_descriptor(cfg: CfgNode, backbone: Encoder) -> RelationshipDescriptor:
    """A descriptor as MODEL.ZERO_SHOT says."""
    descriptor = RelationshipDescriptor(backbone.dim_latent, cfg.MODEL.ZERO_SHOT.DESCRIPTOR)
    if cfg.MODEL.ZERO_SHOT.ALIGNED_START:
        descriptor.start_aligned()
    return descriptor


def build_decoder(cfg: CfgNode, backbone: Encoder) -> MaskDecoder:
    """A decoder as MODEL.ZERO_SHOT says."""
    node = cfg.MODEL.ZERO_SHOT
    return MaskDecoder(
        backbone.dim_latent, node.DECODER_LAYERS, node.DECODER_HEADS, node.DIM_FEEDFORWARD, node.DECODER_DROPOUT
    )
