"""MAFT+: a fine-tuned CLIP classifies alone, by names that each picture changes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor

from fcclip.clip.mask_pooling import mask_pool
from fcclip.clip.teacher import Teacher
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.modeling.adapter_training import build_adapter_training
from fcclip.modeling.classification import classify
from fcclip.modeling.content_transfer import ContentDependentTransfer, build_content_transfer, scrambled_pieces
from fcclip.modeling.tuning_losses import compensation_loss, ranking_loss
from fcclip.text import TextClassifier
from fcclip.weights import TUNED_TRUNK


@META_ARCH_REGISTRY.register()
class MAFT_Plus(FCCLIP):
    """FC-CLIP whose image trunk was fine-tuned with the mask generator, and whose names look at the picture.

    The trained classifier decides about void alone; with a mask adapter, the two are joined as in FC-CLIP.

    Args:
        cdt: changes the names by what a picture shows.
        teacher: the image tower before its training, of which the trained one keeps what it can.
        compensation_weight: weight of the loss that compares the two; published: 0.1.
        arguments: those of `FCCLIP`.

    Source: Jiao et al., "Collaborative Vision-Text Representation Optimizing for Open-Vocabulary Segmentation", ECCV
    2024.
    """

    tuned_weights = TUNED_TRUNK

    @configurable
    def __init__(
        self, *, cdt: ContentDependentTransfer, teacher: Teacher, compensation_weight: float, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.backbone.require_pooled_head("MAFT+")
        self.cdt = cdt
        self.teacher, self.compensation_weight = teacher, compensation_weight
        if self.mask_adapter is not None:  # it alone is trained
            cdt.requires_grad_(False)
            self.void_embedding.requires_grad_(False)
            return
        for part in self.backbone.tower.convolutional_part:
            part.requires_grad_(True)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.FC_CLIP
        arguments = {
            **super().from_config(cfg),
            "cdt": build_content_transfer(cfg),
            "teacher": Teacher(node.CLIP_MODEL_NAME, node.CLIP_PRETRAINED_WEIGHTS),
            "compensation_weight": cfg.MODEL.rc_weights or 0.0,
        }
        arguments["adapter_training"] = build_adapter_training(cfg, on_tuned_clip=True)
        if arguments["mask_adapter"] is None:  # CLIP alone; the published files say -1
            arguments |= {"geometric_ensemble_alpha": 1.0, "geometric_ensemble_beta": 1.0}
        return arguments

    def losses_with_tuning(
        self, images: Tensor, targets: list[dict[str, Tensor]], names: TextClassifier
    ) -> dict[str, Tensor]:
        """As of FC-CLIP, whose gradients stop before the trunk, and two that train the trunk and the transfer."""
        features = self.backbone.tower.extract_features(images)
        outputs = self.sem_seg_head({name: feature.detach() for name, feature in features.items()}, names)
        dense, masks = features["clip_vis_dense"].float(), outputs["pred_masks"].detach()
        coarse_masks = F.interpolate(masks, size=dense.shape[-2:], mode="bilinear", align_corners=False)
        embeddings = self.backbone.embed_pooled(mask_pool(dense, coarse_masks))
        shown = self.text_of_images(names, self.embed_places(dense))
        with torch.autocast(self.device.type, enabled=False):
            rows = TextClassifier(shown.embeddings.float(), shown.rows_of_class)
            class_logits = classify(embeddings.float(), rows, self.backbone.clip_model.logit_scale)[..., :-1]
        losses = {**self.criterion(outputs, targets), "ranking_loss": ranking_loss(class_logits, masks, targets)}
        if self.compensation_weight:
            frozen = self.teacher.features(images).float()
            losses["rc_loss"] = self.compensation_weight * compensation_loss(dense, frozen)
        return losses

    def embed_places(self, dense: Tensor) -> Tensor:
        return self.backbone.embed_pooled(scrambled_pieces(dense.float())).mT.unflatten(2, dense.shape[-2:])

    def text_of_images(self, text: TextClassifier, places: Tensor | None) -> TextClassifier:
        return TextClassifier(self.cdt(text.embeddings, places), text.rows_of_class)
