"""The convolutional CLIP with an image tower that is trained, to be compared with the frozen one."""

from __future__ import annotations

from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, ShapeSpec
from torch import Tensor

from fcclip.clip.backbone import CLIP


@BACKBONE_REGISTRY.register()
class TrainableCLIP(CLIP):
    """FC-CLIP's backbone, fine-tuned together with the mask generator; the text tower stays frozen.

    The learning rate is multiplied by SOLVER.BACKBONE_MULTIPLIER. Batch norms keep their running statistics.

    Source: the comparison of FC-CLIP (Yu et al., NeurIPS 2023), section 4, in which a trained CLIP forgets what it knew
    of unseen classes.
    """

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> None:
        super().__init__(cfg)
        if cfg.MODEL.FC_CLIP.TRAINING_TOWER_DTYPE != "float32":
            raise ValueError(
                "TrainableCLIP is trained in float32 or, with SOLVER.AMP.ENABLED, under autocast; leave "
                "MODEL.FC_CLIP.TRAINING_TOWER_DTYPE at float32"
            )
        self.clip_model.visual.requires_grad_(True)

    def training_features(self, images: Tensor) -> dict[str, Tensor]:
        """As for a frozen tower, with gradients."""
        return {name: x.contiguous() for name, x in self.tower.extract_features(images).items()}
