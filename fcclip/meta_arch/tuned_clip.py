"""What MAFT+ and OVRCOAT share: parts of CLIP's image tower are trained with the mask generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor

from fcclip.clip.teacher import Teacher
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.modeling.classification import classify
from fcclip.modeling.tuning_losses import TEACHER_LOSSES
from fcclip.text import TextClassifier


class TunedCLIP(FCCLIP):
    """FC-CLIP that trains what `tuned_weights` names of its CLIP, beside a frozen copy; not with a mask adapter.

    Args:
        teacher: the image tower before its training, of which the trained one keeps what it can.
        teacher_weights: weight of each of `TEACHER_LOSSES`, which compare the two.
        tunes_clip: False: CLIP stays as it is.
        head_tunes_clip: gradients of the mask generator reach CLIP.
        arguments: those of `FCCLIP`.
    """

    def __init__(
        self,
        *,
        teacher: Teacher,
        teacher_weights: Mapping[str, float],
        tunes_clip: bool = True,
        head_tunes_clip: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.teacher, self.teacher_weights = teacher, teacher_weights
        self.tunes_clip, self.head_tunes_clip = tunes_clip and self.mask_adapter is None, head_tunes_clip
        for name, parameter in self.backbone.clip_model.named_parameters():
            if self.tunes_clip and name.startswith(self.tuned_weights):
                parameter.requires_grad_(True)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.FC_CLIP
        return {**super().from_config(cfg), "teacher": Teacher(node.CLIP_MODEL_NAME, node.CLIP_PRETRAINED_WEIGHTS)}

    def training_outputs(self, images: Tensor, names: TextClassifier) -> tuple[dict[str, Any], Tensor]:
        """What the mask generator says, and the dense features (B, C, h, w) of CLIP with their gradients."""
        features = self.backbone.tower.extract_features(images)
        dense = features["clip_vis_dense"].float()
        if not self.head_tunes_clip:
            features = {name: feature.detach() for name, feature in features.items()}
        return self.sem_seg_head(features, names), dense

    def clip_logits(self, dense: Tensor, masks: Tensor, names: TextClassifier) -> Tensor:
        """What CLIP says of masks (B, Q, h, w), with gradients for CLIP: (B, Q, C), without void."""
        coarse_masks = F.interpolate(masks.detach(), size=dense.shape[-2:], mode="bilinear", align_corners=False)
        embeddings = self.backbone.tower.embed_masks(dense, coarse_masks)
        shown = self.text_of_images(names, self.embed_places(dense))
        with torch.autocast(self.device.type, enabled=False):
            rows = TextClassifier(shown.embeddings.float(), shown.rows_of_class)
            return classify(embeddings.float(), rows, self.backbone.clip_model.logit_scale)[..., :-1]

    def teacher_losses(self, images: Tensor, dense: Tensor) -> dict[str, Tensor]:
        """The weighted losses between the dense features of the trained tower and of the frozen one."""
        weights = {name: weight for name, weight in self.teacher_weights.items() if weight}
        frozen = self.teacher.features(images).float() if weights else dense
        with torch.autocast(self.device.type, enabled=False):
            return {name: weight * TEACHER_LOSSES[name](dense, frozen) for name, weight in weights.items()}
