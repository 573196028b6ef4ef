"""Masked transformer decoder: queries that attend to the pixels of their own mask, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.utils.registry import Registry
from torch import Tensor, nn

from fcclip.clip.mask_pooling import mask_pool
from fcclip.modeling.attention import MultiheadAttention
from fcclip.modeling.classification import classify
from fcclip.modeling.decoded import QueryMasks
from fcclip.modeling.layers import MLP, xavier_init
from fcclip.modeling.position_encoding import sine_encoding
from fcclip.text import TextClassifier

TRANSFORMER_DECODER_REGISTRY = Registry("TRANSFORMER_MODULE")
TRANSFORMER_DECODER_REGISTRY.__doc__ = "Transformer decoders of mask classification models, built from the config."

LEVELS = 3
INITIAL_LOGIT_SCALE = math.log(1 / 0.07)


@TRANSFORMER_DECODER_REGISTRY.register()
class MultiScaleMaskedTransformerDecoder(nn.Module):
    """Queries attend to one level after another, each only where its present mask is positive.

    Args:
        in_channels: channels of the three levels.
        width: channels of the queries.
        num_queries, heads, layers, feedforward_width, pre_norm: as named.
        mask_dim: channels of the mask features.
        embed_dim: width of CLIP's joint embedding, in which masks are classified.
        project_inputs: put a 1x1 convolution before the levels even where their width fits.

    Source: Mask2Former (Cheng et al., CVPR 2022), section 3.2; class head as in FC-CLIP, section 3.2.
    """

    @configurable
    def __init__(
        self,
        in_channels: int,
        *,
        width: int,
        num_queries: int,
        heads: int,
        feedforward_width: int,
        layers: int,
        pre_norm: bool,
        mask_dim: int,
        embed_dim: int,
        project_inputs: bool,
    ) -> None:
        super().__init__()
        self.transformer_self_attention_layers = nn.ModuleList(
            SelfAttentionLayer(width, heads, pre_norm) for _ in range(layers)
        )
        self.transformer_cross_attention_layers = nn.ModuleList(
            CrossAttentionLayer(width, heads, pre_norm) for _ in range(layers)
        )
        self.transformer_ffn_layers = nn.ModuleList(
            FeedForwardLayer(width, feedforward_width, pre_norm) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.query_feat = nn.Embedding(num_queries, width)
        self.query_embed = nn.Embedding(num_queries, width)
        self.level_embed = nn.Embedding(LEVELS, width)
        projects = project_inputs or in_channels != width
        self.input_proj = nn.ModuleList(
            _projection(in_channels, width) if projects else nn.Sequential() for _ in range(LEVELS)
        )
        self.mask_embed = MLP(width, width, width, mask_dim)
        self._mask_pooling_proj = nn.Sequential(nn.LayerNorm(mask_dim), nn.Linear(mask_dim, width))
        self.class_embed = MLP(width, width, width, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int) -> dict[str, Any]:
        node = cfg.MODEL.MASK_FORMER
        return {
            "in_channels": in_channels,
            "width": node.HIDDEN_DIM,
            "num_queries": node.NUM_OBJECT_QUERIES,
            "heads": node.NHEADS,
            "feedforward_width": node.DIM_FEEDFORWARD,
            "layers": node.DEC_LAYERS - 1,  # the first supervised output is that of the bare queries
            "pre_norm": node.PRE_NORM,
            "mask_dim": cfg.MODEL.SEM_SEG_HEAD.MASK_DIM,
            "embed_dim": cfg.MODEL.FC_CLIP.EMBED_DIM,
            "project_inputs": node.ENFORCE_INPUT_PROJ,
        }

    def forward(self, levels: list[Tensor], mask_features: Tensor, text: TextClassifier) -> dict[str, Any]:
        """Masks and class logits after every layer, as training compares them with the ground truth.

        Args:
            levels: three maps (B, D, h, w), coarse to fine.
            mask_features: (B, mask_dim, H/4, W/4).
            text: C classes, void last.

        Returns:
            `pred_logits` (B, Q, C) and `pred_masks` (B, Q, H/4, W/4) of the last layer, and `aux_outputs`, the same two
            of the bare queries and of every earlier layer.
        """
        outputs = []
        for queries in self._refine(levels, mask_features):
            masks = self._predict(queries, mask_features)
            outputs.append({"pred_logits": self.classify(masks.embeddings, text), "pred_masks": masks.logits})
        return {**outputs[-1], "aux_outputs": outputs[:-1]}

    def decode(self, levels: list[Tensor], mask_features: Tensor) -> QueryMasks:
        """The masks of the last layer, for inference: no class is needed yet.

        In float32 even under autocast, since they are compared with thresholds and with each other.
        """
        queries = self._refine(levels, mask_features)[-1]
        with torch.autocast(queries.device.type, enabled=False):
            return self._predict(queries.float(), mask_features.float())

    def classify(self, embeddings: Tensor, text: TextClassifier) -> Tensor:
        """Class logits (B, Q, C) of the embeddings of masks (B, Q, E)."""
        return classify(embeddings, text, self.logit_scale)

    def _refine(self, levels: list[Tensor], mask_features: Tensor) -> list[Tensor]:
        """The queries (B, Q, D) before the first layer and after each."""
        batch = mask_features.shape[0]
        sources = [project(level) for project, level in zip(self.input_proj, levels, strict=True)]
        values = [x.flatten(2).transpose(1, 2) + self.level_embed.weight[i] for i, x in enumerate(sources)]
        positions = [sine_encoding(x.shape[-2], x.shape[-1], x.shape[1], x.device).flatten(1).T for x in sources]
        # Resizing is linear: masks made of resized features are resized masks, without the full-size ones in between.
        resized = [_resize(mask_features, level.shape[-2:]) for level in levels]

        query_position = self.query_embed.weight
        queries = self.query_feat.weight.expand(batch, -1, -1)
        states = [queries]
        for index, (cross_attention, self_attention, feed_forward) in enumerate(
            zip(
                self.transformer_cross_attention_layers,
                self.transformer_self_attention_layers,
                self.transformer_ffn_layers,
                strict=True,
            )
        ):
            level = index % LEVELS
            allowed = self._allowed(queries, resized[level])
            queries = cross_attention(queries, query_position, values[level], positions[level], allowed)
            queries = self_attention(queries, query_position)
            queries = feed_forward(queries)
            states.append(queries)
        return states

    def _predict(self, queries: Tensor, mask_features: Tensor) -> QueryMasks:
        """The masks of queries (B, Q, D); a mask's embedding is made of its query and of the features it covers."""
        decoded = self.decoder_norm(queries)
        masks = self._masks(decoded, mask_features)
        pooled = self._mask_pooling_proj(mask_pool(mask_features, masks))
        return QueryMasks(masks, self.class_embed(pooled + decoded), decoded)

    def _masks(self, decoded: Tensor, mask_features: Tensor) -> Tensor:
        return torch.einsum("bqc,bchw->bqhw", self.mask_embed(decoded), mask_features)

    @torch.no_grad()
    def _allowed(self, queries: Tensor, mask_features: Tensor) -> Tensor:
        """Where each query may look, (B, Q, hw): on its mask, or everywhere if that is empty."""
        masks = self._masks(self.decoder_norm(queries), mask_features).flatten(2)
        allowed = masks.sigmoid() >= 0.5
        return allowed | ~allowed.any(dim=-1, keepdim=True)


class _AttentionLayer(nn.Module):
    """Attention with a residual and a layer norm: after it, or with `pre_norm` before it."""

    def __init__(self, width: int, heads: int, pre_norm: bool, attention_name: str) -> None:
        super().__init__()
        setattr(self, attention_name, MultiheadAttention(width, heads))
        self.norm = nn.LayerNorm(width)
        self.pre_norm = pre_norm

    def residual(self, queries: Tensor, attend: Callable[[Tensor], Tensor]) -> Tensor:
        if self.pre_norm:
            return queries + attend(self.norm(queries))
        return self.norm(queries + attend(queries))


class SelfAttentionLayer(_AttentionLayer):
    """Queries attend to each other."""

    self_attn: MultiheadAttention

    def __init__(self, width: int, heads: int, pre_norm: bool) -> None:
        super().__init__(width, heads, pre_norm, "self_attn")

    def forward(self, queries: Tensor, query_position: Tensor) -> Tensor:
        """Args: queries (B, Q, D), query_position (Q, D). Returns (B, Q, D)."""
        return self.residual(queries, lambda x: self.self_attn(x + query_position, x + query_position, x))


class CrossAttentionLayer(_AttentionLayer):
    """Queries attend to pixels."""

    multihead_attn: MultiheadAttention

    def __init__(self, width: int, heads: int, pre_norm: bool) -> None:
        super().__init__(width, heads, pre_norm, "multihead_attn")

    def forward(
        self, queries: Tensor, query_position: Tensor, pixels: Tensor, pixel_position: Tensor, allowed: Tensor
    ) -> Tensor:
        """Args: queries (B, Q, D), pixels (B, N, D), their positions, allowed (B, Q, N). Returns (B, Q, D)."""
        keys = pixels + pixel_position
        return self.residual(queries, lambda x: self.multihead_attn(x + query_position, keys, pixels, allowed))


class FeedForwardLayer(nn.Module):
    """Two linear layers with a residual and a layer norm."""

    def __init__(self, width: int, hidden_width: int, pre_norm: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden_width)
        self.linear2 = nn.Linear(hidden_width, width)
        self.norm = nn.LayerNorm(width)
        self.pre_norm = pre_norm
        xavier_init(self)

    def forward(self, queries: Tensor) -> Tensor:
        """(B, Q, D) -> (B, Q, D)."""
        if self.pre_norm:
            return queries + self.linear2(F.relu(self.linear1(self.norm(queries)), inplace=True))
        return self.norm(queries + self.linear2(F.relu(self.linear1(queries), inplace=True)))


def _projection(in_channels: int, width: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, width, kernel_size=1)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    nn.init.zeros_(conv.get_parameter("bias"))
    return conv


def _resize(features: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)


@TRANSFORMER_DECODER_REGISTRY.register()
class VideoMultiScaleMaskedTransformerDecoder_minvis_OV(MultiScaleMaskedTransformerDecoder):
    """The same decoder, by the name that the published files of MinVIS_OV give it."""
