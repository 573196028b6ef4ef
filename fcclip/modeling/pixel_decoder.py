"""Pixel decoder: a deformable transformer over three levels, and a feature pyramid step to stride 4."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from fvcore.nn import weight_init
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fcclip.modeling.constants import cached_constant
from fcclip.modeling.deformable import MSDeformAttn, Shapes
from fcclip.modeling.layers import xavier_init
from fcclip.modeling.position_encoding import sine_encoding

FEEDFORWARD_WIDTH = 1024
CPU_PIECE = 2048  # tokens whose hidden layer stays in the cache: a fifth of the time less
POINTS = 4
NORM_GROUPS = 32


@SEM_SEG_HEADS_REGISTRY.register()
class MSDeformAttnPixelDecoder(nn.Module):
    """Turns backbone features into mask features and a pyramid for the transformer decoder.

    Args:
        input_shape: channels by feature name; `in_features` and `fine_feature` are used.
        in_features: the levels the transformer mixes, coarse to fine.
        fine_feature: the stride-4 level that the pyramid step adds.
        width: channels of all outputs.
        mask_dim: channels of the mask features.
        heads, layers, dropout: of the transformer.
        attention_backend: see `MSDeformAttn`.
        activation_checkpointing: see `DeformableEncoder`.

    Source: Mask2Former (Cheng et al., CVPR 2022), section 3.2.2.
    """

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        in_features: list[str],
        fine_feature: str,
        width: int,
        mask_dim: int,
        heads: int,
        layers: int,
        dropout: float,
        attention_backend: str,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.fine_feature = fine_feature
        self.allow_autocast = False
        self.input_proj = nn.ModuleList(_input_projection(input_shape[name].channels, width) for name in in_features)
        self.transformer = DeformableEncoder(
            len(in_features), width, heads, layers, dropout, attention_backend, activation_checkpointing
        )
        self.mask_features = Conv2d(width, mask_dim, kernel_size=1)
        weight_init.c2_xavier_fill(self.mask_features)
        self.adapter_1 = _pyramid_conv(input_shape[fine_feature].channels, width, kernel_size=1)
        self.layer_1 = _pyramid_conv(width, width, kernel_size=3, activation=partial(F.relu, inplace=True))

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        names = sorted(
            head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES, key=lambda name: input_shape[name].stride, reverse=True
        )
        return {
            "input_shape": input_shape,
            "in_features": names,
            "fine_feature": min(head.IN_FEATURES, key=lambda name: input_shape[name].stride),
            "width": head.CONVS_DIM,
            "mask_dim": head.MASK_DIM,
            "heads": cfg.MODEL.MASK_FORMER.NHEADS,
            "layers": head.TRANSFORMER_ENC_LAYERS,
            "dropout": cfg.MODEL.MASK_FORMER.DROPOUT,
            "attention_backend": head.DEFORMABLE_ATTENTION,
            "activation_checkpointing": head.ACTIVATION_CHECKPOINTING,
        }

    def forward_features(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Decode; in float32 even under autocast, unless `allow_autocast` is set.

        Args:
            features: backbone features by name.

        Returns:
            mask features (B, mask_dim, H/4, W/4), the coarsest transformer output, and all three, coarse to fine, each
            (B, width, h, w).
        """
        device = features[self.fine_feature].device.type
        with torch.autocast(device, enabled=self.allow_autocast and torch.is_autocast_enabled(device)):
            inputs = [
                project(features[name].float()) for project, name in zip(self.input_proj, self.in_features, strict=True)
            ]
            levels = self.transformer(inputs)
            fine = self.adapter_1(features[self.fine_feature].float())
            finest = levels[-1]  # its channels lie last, which those of the other maps need not
            if fine.is_contiguous():
                finest = finest.contiguous()
            coarse = F.interpolate(finest, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            coarse += fine  # in place, as these are the largest maps of the decoder
            del fine
            return self.mask_features(self.layer_1(coarse)), levels[0], levels


class DeformableEncoder(nn.Module):
    """Transformer encoder over a flattened feature pyramid.

    With `activation_checkpointing` a training step keeps the input of each layer only, and computes the layer again,
    with the same dropout, when its gradients are wanted (Chen et al., Training Deep Nets with Sublinear Memory Cost,
    2016).
    """

    def __init__(
        self,
        levels: int,
        width: int,
        heads: int,
        layers: int,
        dropout: float,
        attention_backend: str,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        self.level_embed = nn.Parameter(torch.randn(levels, width))
        stack = (DeformableEncoderLayer(width, levels, heads, dropout, attention_backend) for _ in range(layers))
        self.encoder: Any = nn.ModuleDict({"layers": nn.ModuleList(stack)})

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        """Mix the levels: a list of (B, D, h, w) in, the same shapes out."""
        shapes = tuple((x.shape[-2], x.shape[-1]) for x in inputs)
        width, device = inputs[0].shape[1], inputs[0].device
        tokens = torch.cat([x.flatten(2).transpose(1, 2) for x in inputs], dim=1)
        positions = torch.cat(
            [
                sine_encoding(*shape, width, device).flatten(1).T + embedding
                for shape, embedding in zip(shapes, self.level_embed, strict=True)
            ]
        )
        references = reference_points(shapes, device)
        for layer in self.encoder["layers"]:
            if self.activation_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(layer, tokens, positions, references, shapes, use_reentrant=False)
            else:
                tokens = layer(tokens, positions, references, shapes)
        maps = tokens.transpose(1, 2).split([height * width for height, width in shapes], dim=2)
        return [x.reshape(*x.shape[:2], *shape) for x, shape in zip(maps, shapes, strict=True)]


class DeformableEncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward network, each with a residual and a layer norm after it."""

    def __init__(self, width: int, levels: int, heads: int, dropout: float, attention_backend: str) -> None:
        super().__init__()
        self.self_attn = MSDeformAttn(width, levels, heads, POINTS, attention_backend)
        self.norm1 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, FEEDFORWARD_WIDTH)
        self.linear2 = nn.Linear(FEEDFORWARD_WIDTH, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        xavier_init(self)
        self.self_attn.reset_parameters()

    def forward(self, tokens: Tensor, positions: Tensor, references: Tensor, shapes: Shapes) -> Tensor:
        """Args: tokens (B, N, D), positions (N, D), references (N, 2). Returns (B, N, D)."""
        attended = self.self_attn(tokens + positions, references, tokens, shapes)
        tokens = self.norm1(tokens + self.dropout(attended))
        if tokens.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._feed_forward(tokens)
        return torch.cat([self._feed_forward(piece) for piece in tokens.split(CPU_PIECE, dim=1)], dim=1)

    def _feed_forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(F.relu(self.linear1(tokens), inplace=True))
        return self.norm2(tokens + self.dropout(self.linear2(hidden)))


@cached_constant(maxsize=16)
def reference_points(shapes: Shapes, device: torch.device) -> Tensor:
    """Centres of the pixels of all levels, one level after another: (N, 2), (x, y) in [0, 1]."""
    points = []
    for height, width in shapes:
        y = (torch.arange(height, device=device) + 0.5) / height
        x = (torch.arange(width, device=device) + 0.5) / width
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        points.append(torch.stack([grid_x.flatten(), grid_y.flatten()], dim=-1))
    return torch.cat(points)


def _input_projection(channels: int, width: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, width, kernel_size=1)
    nn.init.xavier_uniform_(conv.weight)
    nn.init.zeros_(conv.get_parameter("bias"))
    return nn.Sequential(conv, nn.GroupNorm(NORM_GROUPS, width))


def _pyramid_conv(channels: int, width: int, kernel_size: int, activation: Any = None) -> Conv2d:
    norm = nn.GroupNorm(NORM_GROUPS, width)
    conv = Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False, norm=norm, activation=activation)
    weight_init.c2_xavier_fill(conv)
    return conv
