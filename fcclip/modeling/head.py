"""The segmentation head: pixel decoder and transformer decoder, by their registered names."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from fcclip.files.config_checks import check_registered
from fcclip.modeling.decoded import QueryMasks
from fcclip.modeling.transformer_decoder import TRANSFORMER_DECODER_REGISTRY
from fcclip.text import TextClassifier


@SEM_SEG_HEADS_REGISTRY.register()
class FCCLIPHead(nn.Module):
    """Backbone features and a text classifier in, masks and their class logits out.

    Args:
        pixel_decoder: has `forward_features`.
        predictor: the transformer decoder.
    """

    @configurable
    def __init__(self, *, pixel_decoder: Any, predictor: Any) -> None:
        super().__init__()
        self.pixel_decoder = pixel_decoder
        self.predictor = predictor

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head, mask_former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
        if mask_former.TRANSFORMER_IN_FEATURE != "multi_scale_pixel_decoder":
            raise ValueError(
                f'MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE is "{mask_former.TRANSFORMER_IN_FEATURE}"; '
                'set it to "multi_scale_pixel_decoder"'
            )
        pixel_decoder = SEM_SEG_HEADS_REGISTRY.get(head.PIXEL_DECODER_NAME)
        name = mask_former.TRANSFORMER_DECODER_NAME
        check_registered("MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", name, TRANSFORMER_DECODER_REGISTRY)
        predictor = TRANSFORMER_DECODER_REGISTRY.get(name)
        return {
            "pixel_decoder": pixel_decoder(cfg, {name: input_shape[name] for name in head.IN_FEATURES}),
            "predictor": predictor(cfg, head.CONVS_DIM),
        }

    def forward(self, features: dict[str, Tensor], text: TextClassifier) -> dict[str, Any]:
        """What training needs; see `MultiScaleMaskedTransformerDecoder.forward`."""
        mask_features, _, levels = self.pixel_decoder.forward_features(features)
        return self.predictor(levels, mask_features, text)

    def decode(self, features: dict[str, Tensor]) -> QueryMasks:
        """What inference needs before it is asked for classes."""
        mask_features, _, levels = self.pixel_decoder.forward_features(features)
        return self.predictor.decode(levels, mask_features)

    def classify(self, embeddings: Tensor, text: TextClassifier) -> Tensor:
        """Class logits (B, Q, C) of the trained classifier, given the embeddings of masks (B, Q, E)."""
        return self.predictor.classify(embeddings, text)
