"""The frozen convolutional CLIP as a Detectron2 backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, ShapeSpec
from torch import Tensor

from fcclip.checkpoint_files import holds_prefix
from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.loading import load_clip
from fcclip.clip.resnet import ResNetTower
from fcclip.clip.text_tower import embedding_width, encode_text, text_tower, text_weights
from fcclip.clip.tower import ImageTower
from fcclip.fingerprint import fingerprint_tensors
from fcclip.text import TEMPLATES, NameEmbedder
from fcclip.text_cache import TextCache

CLIP_PREFIX = "backbone.clip_model."
STRIDES = {"stem": 2, "res2": 4, "res3": 8, "res4": 16, "res5": 32}


@BACKBONE_REGISTRY.register()
class CLIP(Backbone):
    """One frozen CLIP: features for the mask generator, and both towers for the out-of-vocabulary classifier.

    Always in eval mode and without gradients, whatever the mode of the model around it.
    """

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> None:
        super().__init__()
        node = cfg.MODEL.FC_CLIP
        in_checkpoint = bool(cfg.MODEL.WEIGHTS) and holds_prefix(cfg.MODEL.WEIGHTS, CLIP_PREFIX)
        loaded = load_clip(node.CLIP_MODEL_NAME, "" if in_checkpoint else node.CLIP_PRETRAINED_WEIGHTS)
        self.model_name = node.CLIP_MODEL_NAME
        self.clip_model: Any = loaded.model.requires_grad_(False).eval()
        self.tokenizer = loaded.tokenizer
        self.weights_source = loaded.source  # None: random
        self._text_fingerprint: str | None = None
        self.register_load_state_dict_post_hook(_forget_fingerprint)
        self.dim_latent = embedding_width(loaded.model)
        self.tower = _image_tower(loaded.model.visual, self.model_name)
        self._out_features = [*STRIDES, "clip_embedding"]
        self._out_feature_strides = {**STRIDES, "clip_embedding": -1}
        self._out_feature_channels = {**self.tower.channels, "clip_embedding": self.dim_latent}

    def train(self, mode: bool = True) -> CLIP:
        """Stay in eval mode: batch norm uses its running statistics, nothing is dropped."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        return self.clip_model.logit_scale.device

    @property
    def size_divisibility(self) -> int:
        return -1

    @torch.no_grad()
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Features of normalised images.

        Args:
            images: (B, 3, H, W).

        Returns:
            ``stem``, ``res2`` to ``res5`` (strides 4 to 32) and ``clip_vis_dense``, (B, C, H/32, W/32).
        """
        return self.tower.extract_features(images)

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        """The same as calling the module."""
        return self(images)

    @torch.no_grad()
    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        """CLIP embeddings of masks: ``clip_vis_dense`` (B, C, h, w) and logits (B, Q, h, w) -> (B, Q, E)."""
        return self.tower.embed_masks(dense, mask_logits)

    @torch.no_grad()
    def visual_prediction_forward(self, x: Tensor, masks: Tensor | None = None) -> Tensor:
        """The published entry point: pooled features (ConvNeXt) or dense features and masks (ResNet) -> (B, Q, E)."""
        if isinstance(self.tower, ConvNeXtTower):
            return self.tower.embed_pooled(x)
        if masks is None:
            raise ValueError("a ResNet CLIP pools by attention: pass the mask logits (B, Q, h, w) as well")
        return self.tower.embed_masks(x, masks)

    def tokenize_text(self, text: str | Sequence[str]) -> Tensor:
        """Prompts -> (n, context length) int64 on the CPU."""
        return self.tokenizer([text] if isinstance(text, str) else list(text))

    @torch.no_grad()
    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens (n, context length) -> (n, E), not normalised; in the weights' precision even under autocast."""
        with torch.autocast(self.device.type, enabled=False):
            return encode_text(self.clip_model, tokens.to(self.device))

    def name_embedder(self, use_cache: bool) -> NameEmbedder:
        """Embeds class names with this CLIP; ``use_cache`` keeps them on disk, unless the weights are random."""
        return NameEmbedder(self.tokenize_text, self.encode_text, self._open_cache if use_cache else lambda: None)

    def _open_cache(self) -> TextCache | None:
        if self.weights_source is None:
            return None
        if self._text_fingerprint is None:
            activations = {type(module).__name__ for module in text_tower(self.clip_model).transformer.modules()}
            description = (Path(self.model_name).stem, *sorted(activations), *TEMPLATES)
            self._text_fingerprint = fingerprint_tensors(text_weights(self.clip_model), description)
        return TextCache(self._text_fingerprint)

    def get_text_classifier(self, text_list: Sequence[str], device: torch.device | str) -> Tensor:
        """Prompts -> (n, E) on ``device``, not normalised."""
        return self.encode_text(self.tokenize_text(text_list)).to(device)


def _forget_fingerprint(backbone: CLIP, _: Any) -> None:
    backbone._text_fingerprint = None


def _image_tower(visual: Any, name: str) -> ImageTower:
    """How to read an image tower, decided by what it is rather than by its name."""
    if hasattr(visual, "trunk") and hasattr(visual.trunk, "stages") and hasattr(visual.trunk, "norm_pre"):
        return ConvNeXtTower(visual)
    if hasattr(visual, "layer4") and hasattr(visual, "attnpool"):
        return ResNetTower(visual)
    raise ValueError(f'the image tower of "{name}" is neither a ConvNeXt nor a CLIP ResNet; choose one of those')
