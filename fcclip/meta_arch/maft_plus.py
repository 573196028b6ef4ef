"""MAFT+: a fine-tuned CLIP classifies alone, by names that each picture changes."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from fcclip.meta_arch.tuned_clip import TunedCLIP
from fcclip.modeling.adapter_training import build_adapter_training
from fcclip.modeling.content_transfer import ContentDependentTransfer, build_content_transfer, scrambled_pieces
from fcclip.modeling.tuning_losses import ranking_loss
from fcclip.text import TextClassifier
from fcclip.weights import TUNED_TRUNK


@META_ARCH_REGISTRY.register()
class MAFT_Plus(TunedCLIP):
    """FC-CLIP whose image trunk was fine-tuned with the mask generator, and whose names look at the picture.

    The trained classifier decides about void alone; with a mask adapter, the two are joined as in FC-CLIP.

    Args:
        cdt: changes the names by what a picture shows.
        arguments: those of `TunedCLIP`.

    Source: Jiao et al., "Collaborative Vision-Text Representation Optimizing for Open-Vocabulary Segmentation", ECCV
    2024.
    """

    tuned_weights = TUNED_TRUNK

    @configurable
    def __init__(self, *, cdt: ContentDependentTransfer, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.backbone.require_pooled_head("MAFT+")
        self.cdt = cdt
        if self.mask_adapter is not None:  # it alone is trained
            cdt.requires_grad_(False)
            self.void_embedding.requires_grad_(False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        arguments = {
            **super().from_config(cfg),
            "cdt": build_content_transfer(cfg),
            "teacher_weights": {"rc_loss": cfg.MODEL.rc_weights or 0.0},
        }
        arguments["adapter_training"] = build_adapter_training(cfg, on_tuned_clip=True)
        if arguments["mask_adapter"] is None:  # CLIP alone; the published files say -1
            arguments |= {"geometric_ensemble_alpha": 1.0, "geometric_ensemble_beta": 1.0}
        return arguments

    def training_losses(
        self, images: Tensor, targets: list[dict[str, Tensor]], names: TextClassifier
    ) -> dict[str, Tensor]:
        """As of FC-CLIP, whose gradients stop before the trunk, and two that train the trunk and the transfer."""
        outputs, dense = self.training_outputs(images, names)
        class_logits = self.clip_logits(dense, outputs["pred_masks"], names)
        return {
            **self.criterion(outputs, targets),
            "ranking_loss": ranking_loss(class_logits, outputs["pred_masks"], targets),
            **self.teacher_losses(images, dense),
        }

    def embed_places(self, dense: Tensor) -> Tensor:
        return self.backbone.embed_pooled(scrambled_pieces(dense.float())).mT.unflatten(2, dense.shape[-2:])

    def text_of_images(self, text: TextClassifier, places: Tensor | None) -> TextClassifier:
        return TextClassifier(self.cdt(text.embeddings, places), text.rows_of_class)
