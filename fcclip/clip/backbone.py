"""The convolutional CLIP as a Detectron2 backbone: frozen, or with an image tower that is trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, ShapeSpec
from torch import Tensor, nn

from fcclip.clip.base import ClipBackbone
from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.resnet import ResNetTower
from fcclip.config import dtype_of_key

STRIDES = {"stem": 2, "res2": 4, "res3": 8, "res4": 16, "res5": 32}


@BACKBONE_REGISTRY.register()
class CLIP(ClipBackbone):
    """One frozen CLIP: features for the mask generator, and both towers for the out-of-vocabulary classifier.

    Always in eval mode and without gradients, whatever the mode of the model around it.
    """

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> None:
        super().__init__(cfg)
        self.tower = _image_tower(self.clip_model.visual, self.model_name)
        self._image_dtype, self._memory_format = torch.float32, torch.contiguous_format
        name = cfg.MODEL.FC_CLIP.TRAINING_TOWER_DTYPE
        self._training_dtype = dtype_of_key("MODEL.FC_CLIP.TRAINING_TOWER_DTYPE", name)
        self._training_tower: ImageTower | None = None  # made when first needed; no submodule, see `_converted_copy`
        self.register_load_state_dict_post_hook(_forget_training_tower)
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

    def convert_image_tower(self, dtype: torch.dtype, channels_last: bool) -> None:
        """Convert the convolutions of the image tower for good; the head that embeds masks keeps its precision."""
        self._memory_format = torch.channels_last if channels_last else torch.contiguous_format
        for module in self.tower.convolutional_part:
            module.to(dtype).to(memory_format=self._memory_format)
        self._image_dtype = dtype

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features of normalised images.

        Args:
            images: (B, 3, H, W) float32.

        Returns:
            ``stem``, ``res2`` to ``res5`` (strides 4 to 32) and ``clip_vis_dense``, (B, C, H/32, W/32), in the
            precision of the image tower.
        """
        images = images.to(dtype=self._image_dtype, memory_format=self._memory_format)
        features = self.tower.extract_features(images)
        return {name: x.contiguous(memory_format=self._memory_format) for name, x in features.items()}

    @torch.no_grad()
    def training_features(self, images: Tensor) -> dict[str, Tensor]:
        """The same for a training step, computed in MODEL.FC_CLIP.TRAINING_TOWER_DTYPE where that is a half precision.

        Then the images go through a converted copy of the tower, and under autocast in that precision nevertheless.
        """
        if self._training_dtype == torch.float32:
            return self(images)
        tower = self._training_tower
        if tower is None or _device(tower) != images.device:
            tower = self._training_tower = self._converted_copy()
        with torch.autocast(images.device.type, enabled=False):
            converted = images.to(dtype=self._training_dtype, memory_format=torch.channels_last)
            return {name: x.contiguous() for name, x in tower.extract_features(converted).items()}

    def _converted_copy(self) -> ImageTower:
        """The image tower, its convolutions in half precision and channels last, the layout in which these are fast.

        A tower is no module, so that the copy is in no state dict: checkpoints, fingerprints and evaluations know the
        original weights only, from which a resumed run makes the same copy again. Tensors that are not converted are
        shared with the original.
        """
        parts = self.tower.convolutional_part
        converted = {id(tensor) for part in parts for tensor in (*part.parameters(), *part.buffers())}
        visual = self.clip_model.visual
        shared = {id(tensor): tensor for tensor in (*visual.parameters(), *visual.buffers())}
        memo = {key: tensor for key, tensor in shared.items() if key not in converted}
        tower = _image_tower(copy.deepcopy(visual, memo), self.model_name)
        for module in tower.convolutional_part:
            module.to(self._training_dtype).to(memory_format=torch.channels_last)
        return tower

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        """The same as calling the module."""
        return self(images)

    @torch.no_grad()
    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """CLIP embeddings of masks: ``clip_vis_dense`` (B, C, h, w) and logits (B, Q, h, w) -> (B, Q, E)."""
        return self.tower.embed_masks(dense.float(), mask_logits)

    @torch.no_grad()
    def visual_prediction_forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """The published entry point: pooled features (ConvNeXt) or dense features and masks (ResNet) -> (B, Q, E)."""
        if isinstance(self.tower, ConvNeXtTower):
            return self.tower.embed_pooled(x)
        if masks is None:
            raise ValueError("a ResNet CLIP pools by attention: pass the mask logits (B, Q, h, w) as well")
        return self.tower.embed_masks(x, masks)


def _forget_training_tower(backbone: CLIP, _: Any) -> None:
    backbone._training_tower = None


def _device(tower: ImageTower) -> torch.device:
    return next(tower.convolutional_part[0].parameters()).device


def _image_tower(visual: Any, name: str) -> ImageTower:
    """How to read an image tower, decided by what it is rather than by its name."""
    if hasattr(visual, "trunk") and hasattr(visual.trunk, "stages") and hasattr(visual.trunk, "norm_pre"):
        return ConvNeXtTower(visual)
    if hasattr(visual, "layer4") and hasattr(visual, "attnpool"):
        return ResNetTower(visual)
    raise ValueError(f'the image tower of "{name}" is neither a ConvNeXt nor a CLIP ResNet; choose one of those')


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
