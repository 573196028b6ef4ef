"""FC-CLIP's frozen convolutional CLIP as an encoder of the zero-shot systems: joint-space vectors at several stages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, ShapeSpec
from torch import Tensor, nn

from fcclip.clip.base import ClipBackbone
from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.patches import PatchFeatures, earlier_blocks

STAGES = ("res2", "res3", "res4", "res5")  # blocks 0 to 3
GRID = "res4"  # all maps are brought to the grid of this stage


@BACKBONE_REGISTRY.register()
class DenseConvNeXtCLIP(ClipBackbone):
    """A ConvNeXt CLIP whose own head is applied at every place of the last stage, and projections to earlier stages.

    The CLIP stays frozen. The projections of the stages in MODEL.ZERO_SHOT.BLOCK_GROUPS are drawn at random and trained
    if MODEL.ZERO_SHOT.TRAIN_LEVEL_PROJECTION says so.
    """

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> None:
        super().__init__(cfg)
        if not hasattr(self.clip_model.visual, "trunk"):
            raise ValueError(f'the image tower of "{self.model_name}" is not a ConvNeXt; choose one, or use ViTCLIP')
        node = cfg.MODEL.ZERO_SHOT
        self.tower = ConvNeXtTower(self.clip_model.visual)
        self.depth = len(STAGES)
        self.earlier_blocks = earlier_blocks(node.BLOCK_GROUPS, self.depth)
        widths = [self.tower.channels[STAGES[block]] for block in self.earlier_blocks]
        self.level_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
        self.level_projections = nn.ModuleList(nn.Linear(width, self.dim_latent, bias=False) for width in widths)
        for module in (self.level_norms, self.level_projections):
            module.requires_grad_(node.TRAIN_LEVEL_PROJECTION)
        self._out_features = ["patches"]
        self._out_feature_strides = {"patches": 16}
        self._out_feature_channels = {"patches": self.dim_latent}

    def forward(self, images: Tensor) -> PatchFeatures:
        """Encode normalised images (B, 3, H, W); the grid is that of stride 16."""
        with torch.no_grad():
            features = self.tower.extract_features(images)
            dense = features["clip_vis_dense"].flatten(2).transpose(1, 2)
            last = self.tower.embed_pooled(dense)
            image = self.tower.embed_pooled(dense.mean(dim=1, keepdim=True))[:, 0]
        grid = (features[GRID].shape[-2], features[GRID].shape[-1])
        patches = {self.depth - 1: _unit_map(last, features["res5"], grid)}
        for level, block in enumerate(self.earlier_blocks):
            stage = features[STAGES[block]]
            tokens = self.level_norms[level](stage.flatten(2).transpose(1, 2))
            patches[block] = _unit_map(self.level_projections[level](tokens), stage, grid)
        return PatchFeatures(patches, F.normalize(image, dim=-1))


def _unit_map(tokens: Tensor, stage: Tensor, grid: tuple[int, int]) -> Tensor:
    """Vectors (B, h * w, E) on the grid of a stage (B, C, h, w) -> unit vectors (B, E, *grid)."""
    patches = tokens.transpose(1, 2).unflatten(2, stage.shape[-2:])
    return F.normalize(F.interpolate(patches, size=grid, mode="bilinear", align_corners=False), dim=1)
