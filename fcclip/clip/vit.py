"""The ViT CLIP of the zero-shot systems: patches and image in CLIP's joint space, the encoder tuned by prompts."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, ShapeSpec
from torch import Tensor, nn

from fcclip.clip.base import ClipBackbone
from fcclip.clip.patches import PatchFeatures, earlier_blocks, resize_positions
from fcclip.clip.vit_tokens import DeepPrompts, embed_patches, joint_tokens, patch_map, run_block

ENCODERS = ("prompt_tuned", "fine_tuned", "fixed")
LEVEL_PROJECTIONS = ("random", "clip")


@BACKBONE_REGISTRY.register()
class ViTCLIP(ClipBackbone):
    """CLIP's ViT with a joint-space vector at every patch, after the last block and after chosen earlier ones.

    Only the prompts are trained (MODEL.ZERO_SHOT.ENCODER prompt_tuned), or the whole image tower (fine_tuned), or
    nothing (fixed). The positions are brought to the grid of MODEL.ZERO_SHOT.CROP_SIZE once, so that crops need no
    resizing.

    Patches of the earlier blocks in MODEL.ZERO_SHOT.BLOCK_GROUPS are given too. Each of these has a norm and a
    projection of its own, which the published system leaves at their random initial values.

    Source: ZegCLIP (Zhou et al., CVPR 2023), section 3.3; Cascade-CLIP (Li et al., ICML 2024), section 3.2.
    """

    def __init__(self, cfg: CfgNode, input_shape: ShapeSpec | None = None) -> None:
        super().__init__(cfg)
        node = cfg.MODEL.ZERO_SHOT
        visual = _require_vit(self.clip_model.visual, self.model_name)
        width, self.patch_size = visual.conv1.out_channels, visual.conv1.kernel_size[0]
        self.depth = len(visual.transformer.resblocks)
        self.earlier_blocks = earlier_blocks(node.BLOCK_GROUPS, self.depth)
        _fit_positions(visual, node.CROP_SIZE // self.patch_size)
        if node.ENCODER not in ENCODERS:
            raise ValueError(f"MODEL.ZERO_SHOT.ENCODER must be one of {', '.join(ENCODERS)}, not {node.ENCODER!r}")
        self.dense_kind = node.DENSE_PATCHES
        visual.requires_grad_(node.ENCODER == "fine_tuned")
        self.prompts: DeepPrompts | None = None
        if node.ENCODER == "prompt_tuned":
            self.prompts = DeepPrompts(self.depth, node.NUM_PROMPTS, width, self.patch_size, node.PROMPT_DROPOUT)
        if self.earlier_blocks:
            self.level_norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.earlier_blocks)
            levels = len(self.earlier_blocks)
            self.level_projections = nn.Parameter(_level_projections(node.LEVEL_PROJECTION, visual.proj, levels))
            self.level_norms.requires_grad_(node.TRAIN_LEVEL_PROJECTION)
            self.level_projections.requires_grad_(node.TRAIN_LEVEL_PROJECTION)
        self._out_features = ["patches"]
        self._out_feature_strides = {"patches": self.patch_size}
        self._out_feature_channels = {"patches": self.dim_latent}

    def forward(self, images: Tensor) -> PatchFeatures:
        """Encode normalised images.

        Args:
            images: (B, 3, H, W), each side at least that of a patch; a rest that fills no patch is not seen.
        """
        visual = self.clip_model.visual
        x, grid = embed_patches(visual, images, class_embeddings=2)
        patches: dict[int, Tensor] = {}
        for block, layer in enumerate(visual.transformer.resblocks):
            x = run_block(visual, layer, x if self.prompts is None else self.prompts.insert(x, block))
            if block in self.earlier_blocks:
                patches[block] = self._to_joint_space(x, grid, block)
        tokens = visual.ln_post(self._shared_norm(x)) @ visual.proj
        patches[self.depth - 1] = _unit_patches(tokens, grid)
        return PatchFeatures(patches, F.normalize(tokens[:, 0], dim=-1, eps=0.0))

    def dense_patches(self, images: Tensor) -> Tensor:
        """Patches of plain CLIP, as MODEL.ZERO_SHOT.DENSE_PATCHES says: (B, E, h, w) unit vectors."""
        if self.dense_kind == "values":
            return self.value_patches(images)
        return _unit_patches(*joint_tokens(self.clip_model.visual, images))

    def value_patches(self, images: Tensor) -> Tensor:
        """What each patch of normalised images would give to the class token of plain CLIP: (B, E, h, w) unit vectors.

        The last block's attention is left out, its value and output projections are kept.

        Source: MaskCLIP (Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022), section 3.2.
        """
        visual = self.clip_model.visual
        x, grid = embed_patches(visual, images)
        *earlier, last = visual.transformer.resblocks
        for layer in earlier:
            x = run_block(visual, layer, x)
        width = x.shape[-1]
        values = F.linear(last.ln_1(x), last.attn.in_proj_weight[2 * width :], last.attn.in_proj_bias[2 * width :])
        return _unit_patches(visual.ln_post(last.attn.out_proj(values)) @ visual.proj, grid)

    def _to_joint_space(self, x: Tensor, grid: tuple[int, int], block: int) -> Tensor:
        level = self.earlier_blocks.index(block)
        tokens = self.level_norms[level](self._shared_norm(x)) @ self.level_projections[level]
        return _unit_patches(tokens, grid)

    def _shared_norm(self, x: Tensor) -> Tensor:
        return x if self.prompts is None else self.prompts.norm(x)


def _unit_patches(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The last h * w of (B, L, E) tokens as unit vectors (B, E, h, w)."""
    return patch_map(F.normalize(tokens, dim=-1), grid)


def _require_vit(visual: Any, name: str) -> Any:
    if getattr(visual, "proj", None) is None or not hasattr(visual, "class_embedding"):
        raise ValueError(f'the image tower of "{name}" is not a CLIP ViT; choose one, such as ViT-B-16-quickgelu')
    return visual


@torch.no_grad()
def _fit_positions(visual: Any, side: int) -> None:
    """Bring the stored positions to a grid of side x side patches."""
    positions = visual.positional_embedding
    grid = resize_positions(positions[1:], side, side)
    visual.positional_embedding = nn.Parameter(torch.cat([positions[:1], grid]))


def _level_projections(kind: str, projection: Tensor, levels: int) -> Tensor:
    """(levels, D, E): drawn at random, or copies of CLIP's own."""
    if kind not in LEVEL_PROJECTIONS:
        raise ValueError(
            f"MODEL.ZERO_SHOT.LEVEL_PROJECTION must be one of {', '.join(LEVEL_PROJECTIONS)}, not {kind!r}"
        )
    if kind == "clip":
        return projection.detach().repeat(levels, 1, 1)
    return torch.randn(levels, *projection.shape) * projection.shape[0] ** -0.5
