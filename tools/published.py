"""What the published code of FC-CLIP computes, step by step: the baseline of benchmarks and tests.

Same weights, same results, none of the savings: every query's mask at full size, class scores after every decoder
layer, one attention mask per head, loops over classes and queries. Arguments and shapes are those of the functions that
these stand in for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from detectron2.structures import Boxes, Instances
from torch import Tensor

from fcclip.meta_arch.fcclip import FCCLIP, Sizes
from fcclip.modeling.classification import MAX_LOGIT_SCALE
from fcclip.modeling.decoded import QueryMasks
from fcclip.modeling.transformer_decoder import LEVELS
from fcclip.text import TextClassifier

ALL_TOKENS = 2**31  # go through the feed-forward network at once
Size = tuple[int, int]
Instance = tuple[int, int, float, Tensor]


@contextmanager
def as_published(model: FCCLIP) -> Iterator[None]:
    """Within the block, everything is computed as in the published code, the image tower by timm's own stages."""
    decoder: Any = model.sem_seg_head.predictor
    with (
        patch("fcclip.clip.convnext.run_stage", lambda stage, x: stage(x)),
        patch("fcclip.modeling.pixel_decoder.CPU_PIECE", ALL_TOKENS),
        patch.object(decoder, "decode", lambda levels, features: decode(decoder, levels, features, names(model))),
        patch.object(decoder, "classify", lambda embeddings, text: classify(embeddings, text, decoder.logit_scale)),
        patch("fcclip.modeling.deformable.layer.sampler", lambda backend: sample),
        patch.object(model, "merge", lambda *arguments: merge(model, *arguments)),
    ):
        yield


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(maps[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


def full_masks(masks: Tensor, padded: Size, image: Size, output: Size) -> Tensor:
    """Every mask at the size of the output, by two resizes one after another."""
    return resize(resize(masks, padded)[:, : image[0], : image[1]], output)


def semantic(class_logits: Tensor, masks: Tensor) -> Tensor:
    return torch.einsum("qc,qhw->chw", class_logits.softmax(-1)[:, :-1], masks.sigmoid())


def panoptic(
    class_logits: Tensor, masks: Tensor, things: frozenset[int], object_threshold: float, overlap_threshold: float
) -> tuple[Tensor, list[dict[str, Any]]]:
    """The published merge: query by query, three counts each."""
    scores, labels = class_logits.softmax(-1).max(-1)
    probability = masks.sigmoid()
    keep = (labels != class_logits.shape[-1] - 1) & (scores > object_threshold)
    result = torch.zeros(masks.shape[-2:], dtype=torch.int32, device=masks.device)
    segments: list[dict[str, Any]] = []
    stuff: dict[int, int] = {}
    if not keep.any():
        return result, segments
    scores, labels, probability = scores[keep], labels[keep], probability[keep]
    winner = (scores.view(-1, 1, 1) * probability).argmax(0)
    for k, label in enumerate(labels.tolist()):
        won = winner == k
        inside = probability[k] >= 0.5
        both = won & inside
        if not (won.sum().item() and inside.sum().item() and both.sum().item()):
            continue
        if won.sum().item() / inside.sum().item() < overlap_threshold:
            continue
        if label not in things and label in stuff:
            result[both] = stuff[label]
            continue
        identity = len(segments) + 1
        if label not in things:
            stuff[label] = identity
        result[both] = identity
        segments.append({"id": identity, "isthing": label in things, "category_id": label})
    return result, segments


def instances(class_logits: Tensor, masks: Tensor, count: int, things: frozenset[int]) -> list[Instance]:
    """(query, class, score, mask) of each instance."""
    scores = class_logits.softmax(-1)[:, :-1]
    best, index = scores.flatten().topk(min(count, scores.numel()), sorted=False)
    found = []
    for score, flat in zip(best.tolist(), index.tolist(), strict=True):
        query, label = divmod(flat, scores.shape[1])
        if label not in things:
            continue
        mask = (masks[query] > 0).float()
        mask_score = (masks[query].sigmoid() * mask).sum() / (mask.sum() + 1e-6)
        found.append((query, label, score * mask_score.item(), mask))
    return found


def names(model: FCCLIP) -> TextClassifier:
    """The classes asked for, and void."""
    return model.vocabularies.test(model.device).text.with_void(F.normalize(model.void_embedding.weight, dim=-1))


def merge(
    model: FCCLIP,
    class_logits: Tensor,
    mask_logits: Tensor,
    sizes: Sizes,
    things: frozenset[int],
    labels_only: bool,
    thresholds: None,
) -> dict[str, Any]:
    """All three results of one image from full-size masks; the published system has no thresholds of classes."""
    output = sizes.output
    masks = full_masks(mask_logits, sizes.padded, sizes.image, output)
    panoptic_map, segments = panoptic(class_logits, masks, things, model.object_mask_threshold, model.overlap_threshold)
    found = instances(class_logits, masks, model.test_topk_per_image, things)
    result = Instances(output)
    result.pred_masks = torch.stack([mask for *_, mask in found]) if found else masks[:0]
    result.pred_boxes = Boxes(torch.zeros(len(found), 4))
    result.scores = torch.tensor([score for _, _, score, _ in found])
    result.pred_classes = torch.tensor([label for _, label, _, _ in found])
    return {
        "sem_seg": semantic(class_logits, masks),
        "panoptic_seg": (panoptic_map, segments),
        "panoptic_scores": [0.0] * len(segments),
        "instances": result,
    }


def sample(value: Tensor, shapes: Sequence[Size], locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention with the samples of all levels in memory at once."""
    batch, length, heads, levels, points = weights.shape
    grids = 2 * locations - 1
    samples = []
    for level, part in enumerate(value.split([height * width for height, width in shapes], dim=1)):
        level_map = part.flatten(2).transpose(1, 2).reshape(batch * heads, -1, *shapes[level])
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        samples.append(F.grid_sample(level_map, grid, mode="bilinear", padding_mode="zeros", align_corners=False))
    flat = weights.transpose(1, 2).reshape(batch * heads, 1, length, levels * points)
    total = (torch.stack(samples, dim=-2).flatten(-2) * flat).sum(-1)
    return total.view(batch, -1, length).transpose(1, 2).contiguous()


def classify(embeddings: Tensor, text: TextClassifier, logit_scale: Tensor) -> Tensor:
    """Scores of all names, then the maximum over the names of each class, class by class."""
    scale = logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
    logits = (scale * F.normalize(embeddings, dim=-1)) @ text.embeddings.T
    return torch.stack([logits[..., rows].max(-1).values for rows in text.rows_of_class], dim=-1)


def predict(decoder: Any, queries: Tensor, features: Tensor, size: Size) -> tuple[QueryMasks, Tensor]:
    """Full-size masks and the next attention mask (B * heads, Q, hw), True where forbidden."""
    decoded = decoder.decoder_norm(queries)
    masks = torch.einsum("bqc,bchw->bqhw", decoder.mask_embed(decoded), features)
    positive = (masks > 0).to(features.dtype)
    positive = positive / (positive.sum(dim=(-1, -2), keepdim=True) + 1e-8)
    pooled = decoder._mask_pooling_proj(torch.einsum("bchw,bqhw->bqc", features, positive))
    small = F.interpolate(masks, size=size, mode="bilinear", align_corners=False)
    heads = decoder.transformer_self_attention_layers[0].self_attn.heads
    forbidden = (small.sigmoid().flatten(2)[:, None].repeat(1, heads, 1, 1).flatten(0, 1) < 0.5).bool()
    return QueryMasks(masks, decoder.class_embed(pooled + decoded), decoded), forbidden


def attend(layer: Any, query: Tensor, key: Tensor, value: Tensor, forbidden: Tensor | None = None) -> Tensor:
    """PyTorch's own multi-head attention, with the averaged attention weights that nobody reads."""
    out, _ = F.multi_head_attention_forward(
        query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1), query.shape[-1], layer.heads,
        layer.in_proj_weight, layer.in_proj_bias, None, None, False, 0.0, layer.out_proj.weight, layer.out_proj.bias,
        training=False, need_weights=True, attn_mask=forbidden,
    )  # fmt: skip
    return out.transpose(0, 1)


def sine_positions(features: Tensor) -> Tensor:
    """The sine encoding (C, h, w) of the positions of features (B, C, h, w): first the rows', then the columns'."""
    _, channels, height, width = features.shape
    frequency = 10000 ** (2 * (torch.arange(channels // 2) // 2) / (channels // 2))
    encoded = []
    for size in (height, width):
        angle = (2 * torch.pi * torch.arange(1, size + 1) / (size + 1e-6))[:, None] / frequency
        encoded.append(torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=-1).flatten(1))
    rows = encoded[0][:, None, :].expand(-1, width, -1)
    columns = encoded[1][None].expand(height, -1, -1)
    return torch.cat((rows, columns), dim=-1).permute(2, 0, 1).to(features)


def decode(decoder: Any, levels: list[Tensor], features: Tensor, text: TextClassifier) -> QueryMasks:
    """The decoder with all outputs after every layer, class logits too; those of the last are left to the caller."""
    batch = features.shape[0]
    values = [x.flatten(2).transpose(1, 2) + decoder.level_embed.weight[i] for i, x in enumerate(levels)]
    positions = [sine_positions(x).flatten(1).T for x in levels]
    place = decoder.query_embed.weight
    queries = decoder.query_feat.weight.expand(batch, -1, -1)
    sizes = [(x.shape[-2], x.shape[-1]) for x in levels]
    outputs, forbidden = predict(decoder, queries, features, sizes[0])
    layers = zip(
        decoder.transformer_cross_attention_layers,
        decoder.transformer_self_attention_layers,
        decoder.transformer_ffn_layers,
        strict=True,
    )
    for index, (cross, own, feed_forward) in enumerate(layers):
        level = index % LEVELS
        decoder.classify(outputs.embeddings, text)
        forbidden[torch.where(forbidden.sum(-1) == forbidden.shape[-1])] = False
        keys = values[level] + positions[level]
        queries = cross.norm(queries + attend(cross.multihead_attn, queries + place, keys, values[level], forbidden))
        queries = own.norm(queries + attend(own.self_attn, queries + place, queries + place, queries))
        queries = feed_forward(queries)
        outputs, forbidden = predict(decoder, queries, features, sizes[(index + 1) % LEVELS])
    return outputs


def adapter_embeddings(
    adapter: Any,
    features: Tensor,
    places: Tensor,
    mask_logits: Tensor,
    embed: Callable[[Tensor], Tensor],
    masks_at_once: int,
) -> Tensor:
    """Mask-Adapter's embeddings: the picture fused anew with every mask, empty or not. Of one image."""
    height, width = places.shape[-2:]
    rows = []
    for masks in (mask_logits[0].float().sigmoid() > adapter.threshold).float().split(masks_at_once):
        small = F.interpolate(masks[:, None], size=(4 * height, 4 * width), mode="bilinear", align_corners=False)
        x = adapter.fuse(places + adapter.mask_downscaling(small))
        for block in (adapter.cnext1, adapter.cnext2, adapter.cnext3):
            x = block(x)
        maps = adapter.final(adapter.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        weights = F.logsigmoid(maps.flatten(2)).softmax(dim=-1).flatten(0, 1)
        pooled = weights @ features[0].flatten(1).T
        rows.append(embed(pooled[None])[0].unflatten(0, (len(masks), -1)).mean(dim=1))
    return torch.cat(rows)[None]
