"""A decoder of cross-attention only, whose attention scores are the masks."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScoredCrossAttention(nn.Module):
    """Multi-head cross-attention that also gives its scores.

    Args:
        width: channels of queries and memory.
        heads: number of heads; divides the width.
        dropout: of the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, K, E) and memory (B, N, E) -> attended (B, K, E), and scores (B, K, N).

        The scores are scaled, not normalised, and averaged over the heads.
        """
        q, k, v = (self._split(x) for x in (self.q(queries), self.k(memory), self.v(memory)))
        scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
        attended = self.dropout(scores.softmax(dim=-1)) @ v
        return self.proj(attended.transpose(1, 2).flatten(2)), scores.mean(dim=1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, length, E / heads)


class MaskDecoderLayer(nn.Module):
    """Cross-attention and a feed-forward network, each followed by a norm; no self-attention.

    `self_attn` and `norm1` do nothing: the published checkpoints and parameter counts have them.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.multihead_attn = ScoredCrossAttention(width, heads, dropout)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, K, E), memory (B, N, E) -> new queries, and the attention scores (B, K, N)."""
        attended, scores = self.multihead_attn(queries, memory)
        queries = self.norm2(queries + self.dropout(attended))
        hidden = self.linear2(self.dropout(F.relu(self.linear1(queries))))
        return self.norm3(queries + self.dropout(hidden)), scores


class MaskDecoder(nn.Module):
    """Layers that let class queries look at the patches; the last one's scores say where each class is.

    Args:
        width: E, channels of queries and patches.
        layers, heads, hidden, dropout: of the layers, which all start with the same weights.

    Source: ZegCLIP (Zhou et al., CVPR 2023), section 3.3; SegViT (Zhang et al., NeurIPS 2022), "attention to mask".
    """

    def __init__(self, width: int, layers: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        first = MaskDecoderLayer(width, heads, hidden, dropout)
        self.layers = nn.ModuleList([first, *(copy.deepcopy(first) for _ in range(layers - 1))])

    @torch.no_grad()
    def start_aligned(self, slope: float, threshold: float) -> None:
        """Let the masks of names as queries be `slope * (cosine - threshold)` of name and patch at first.

        The cosine is that of vectors less their mean, because the queries are normalised on their way. What the layers
        add to the queries starts at zero.
        """
        layers: list[Any] = list(self.layers)
        for layer in layers:
            for last in (layer.multihead_attn.proj, layer.linear2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        attention = layers[-1].multihead_attn
        width = attention.q.out_features
        mean = torch.full((width,), width**-0.5)  # a direction that neither queries nor keys use
        scale = attention.heads * (width / attention.heads) ** 0.5  # the score of q and k is their product over this
        gain = (slope * scale / width**0.5) ** 0.5  # queries have length sqrt(width)
        attention.q.weight.copy_(gain * torch.eye(width))
        attention.k.weight.copy_(gain * (torch.eye(width) - torch.outer(mean, mean)))
        offset = (slope * threshold * scale) ** 0.5
        attention.q.bias.copy_(-offset * mean)
        attention.k.bias.copy_(offset * mean)

    @torch.no_grad()
    def start_silent(self) -> None:
        """Let the masks be 0 at first."""
        last: Any = self.layers[-1]
        queries = last.multihead_attn.q
        nn.init.zeros_(queries.weight)
        nn.init.zeros_(queries.bias)

    def forward(self, queries: Tensor, patches: Tensor) -> Tensor:
        """Queries (B, K, E) and patch features (B, E, h, w) -> mask logits (B, K, h, w)."""
        memory = patches.flatten(2).transpose(1, 2)
        for layer in self.layers:
            queries, scores = layer(queries, memory)
        return scores.unflatten(-1, patches.shape[-2:])
