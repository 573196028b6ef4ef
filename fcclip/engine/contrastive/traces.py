"""Train a ViT CLIP on pictures with traces: its patches learn to tell what they are part of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcclip.clip.vit_tokens import joint_tokens
from fcclip.data.panoshapes.traces import TraceBatch
from fcclip.engine.contrastive.tiles import normalize_pixels

PICTURE_WEIGHT = 0.2  # of the loss of whole pictures
SHARPNESS = 1.4  # of the attention to neighbours that a fresh ViT begins with


def embed_traces(model: Any, batch: TraceBatch) -> tuple[Tensor, Tensor]:
    """Unit embeddings of pictures, by their class tokens (n, E), and of traces, by the mean of their patches (m, E)."""
    positions = window_of_positions(model.visual, batch.images.shape[-1])
    tokens, _ = joint_tokens(model.visual, normalize_pixels(batch.images), positions)
    traces = tokens[batch.pictures[:, None], 1 + batch.patches].mean(dim=1)
    return F.normalize(tokens[:, 0], dim=-1), F.normalize(traces, dim=-1)


def trace_loss(model: Any, batch: TraceBatch, captions: Tensor, class_captions: Tensor) -> Tensor:
    """The contrastive losses of traces and, less weighted, of whole pictures.

    Args:
        captions, class_captions: unit rows of the batch's texts, (n, E) and (k, E).
    """
    pictures, traces = embed_traces(model, batch)
    scale = model.logit_scale.exp()
    of_traces = contrast(scale * traces @ class_captions.T, batch.classes)
    of_pictures = contrast(scale * pictures @ captions.T, torch.arange(len(pictures)))
    return of_traces + PICTURE_WEIGHT * of_pictures


def contrast(logits: Tensor, captions: Tensor) -> Tensor:
    """CLIP's symmetric loss where several pictures may have one caption.

    Args:
        logits: (m, k), of pictures and captions.
        captions: (m,) int64, the caption of each picture; every caption has one.
    """
    right = F.one_hot(captions, logits.shape[1])
    of_captions = -(logits.log_softmax(dim=0) * right).sum(dim=0) / right.sum(dim=0)
    return (F.cross_entropy(logits, captions) + of_captions.mean()) / 2


def window_of_positions(visual: Any, side: int) -> Tensor:
    """Positions (1 + h * w, D) for pictures (side, side): a part, at a random place, of those of a whole picture.

    Resized, they would bring patches nearer to each other than they are in a whole picture.
    """
    positions = visual.positional_embedding
    whole, part = round((len(positions) - 1) ** 0.5), side // visual.conv1.kernel_size[0]
    top, left = torch.randint(whole - part + 1, (2,)).tolist()
    grid = positions[1:].unflatten(0, (whole, whole))[top : top + part, left : left + part]
    return torch.cat([positions[:1], grid.flatten(0, 1)])


@torch.no_grad()
def prepare_vit(visual: Any) -> None:
    """Let a ViT of random weights begin as something like a convolutional network, which needs far less training.

    A quarter of the channels holds positions, the others what is seen, and no block mixes them at first. All heads but
    one of each block look at one neighbour of every patch, farther ones in later blocks; the last head looks at patches
    that are like it. Training is free to change all of it.

    Source of the idea: Zheng, Li and Lucey, "Convolutional Initialization for Data-Efficient Vision Transformers",
    2024; of the last head: Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", ICML 2023.
    """
    width = visual.positional_embedding.shape[1]
    head = visual.transformer.resblocks[0].attn.head_dim
    places = slice(width - head, width)  # channels of positions; a multiple of four
    side = round((len(visual.positional_embedding) - 1) ** 0.5)
    visual.conv1[-1].weight[places] = 0
    visual.conv1[-1].bias[places] = 0
    visual.positional_embedding.zero_()
    visual.positional_embedding[1:, places] = _waves(side, head)
    for number, block in enumerate(visual.transformer.resblocks):
        block.attn.out_proj.weight[places] = 0
        block.mlp.c_proj.weight[places] = 0
        block.mlp.c_proj.bias[places] = 0
        _look_around(block.attn, places, reach=1 + number // 2, turn=number / 2)


def _look_around(attention: nn.MultiheadAttention, places: slice, reach: int, turn: float) -> None:
    """Let each head but the last attend to what is `reach` patches away, in directions of equal angles."""
    width, head, neighbours = attention.embed_dim, attention.head_dim, attention.num_heads - 1
    queries, keys = attention.in_proj_weight[:width], attention.in_proj_weight[width : 2 * width]
    for weights in (queries, keys):
        weights[: neighbours * head] = 0
    for number in range(neighbours):
        rows = slice(number * head, (number + 1) * head)
        angle = torch.tensor(2 * torch.pi * (number + turn) / neighbours)
        keys[rows, places] = SHARPNESS * torch.eye(head)
        queries[rows, places] = SHARPNESS * _shift(head, reach * torch.stack([angle.sin(), angle.cos()]))
    alike = nn.init.orthogonal_(torch.empty(head, width))
    queries[-head:], keys[-head:] = alike, alike


def _frequencies(channels: int) -> Tensor:
    """(channels / 4,) radians per patch."""
    return 2 * 0.6 ** torch.arange(channels // 4)


def _waves(side: int, channels: int) -> Tensor:
    """(side * side, channels): sines and cosines of the row, then of the column."""
    angles = torch.arange(side)[:, None] * _frequencies(channels)
    waves = 2**0.5 * torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def _shift(channels: int, offset: Tensor) -> Tensor:
    """(channels, channels): takes the waves of a place to those of the place `offset` (rows, columns) away."""
    blocks = []
    for distance in offset:
        cosine, sine = (torch.diag(f(distance * _frequencies(channels))) for f in (torch.cos, torch.sin))
        blocks.append(torch.cat([torch.cat([cosine, sine], dim=1), torch.cat([-sine, cosine], dim=1)]))
    return torch.block_diag(*blocks)
