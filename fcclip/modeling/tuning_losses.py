"""Losses with which MAFT+ and OVRCOAT fine-tune the image tower of CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.modeling.matcher import Match

OVERLAP_EPSILON = 1e-7
STRETCH_EPSILON = 1e-8
POOLINGS = (1, 2, 4)  # by how much each side of the features is divided


def ranking_loss(class_logits: Tensor, mask_logits: Tensor, targets: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """The probability of a class should rise with the overlap of a mask with the objects of that class.

    Args:
        class_logits: (B, Q, C) of CLIP, without void.
        mask_logits: (B, Q, h, w); no gradient goes to them.
        targets: per image {"labels": (n,), "masks": (n, H, W)}.

    Returns:
        Smooth L1 between probabilities and overlaps, mean over all masks of the ground truth and queries.

    Source: Jiao et al., "Collaborative Vision-Text Representation Optimizing for Open-Vocabulary Segmentation",
    ECCV 2024 (the mask-aware loss), and its released code.
    """
    probabilities = class_logits.softmax(dim=-1)
    of_label = torch.cat([probabilities[i][:, target["labels"]].T for i, target in enumerate(targets)])
    if len(of_label) == 0:
        return probabilities.sum() * 0
    overlaps = torch.cat(
        [soft_overlap(logits, target["masks"]) for logits, target in zip(mask_logits, targets, strict=True)]
    )
    return F.smooth_l1_loss(of_label, stretched(overlaps))


@torch.no_grad()
def soft_overlap(mask_logits: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of probabilities (Q, h, w) with masks (n, H, W): (n, Q)."""
    if len(masks) == 0:
        return mask_logits.new_zeros(0, len(mask_logits))
    size = masks.shape[-2:]
    resized = F.interpolate(mask_logits[None].float().sigmoid(), size=size, mode="bilinear", align_corners=False)
    predicted, truth = resized[0].flatten(1), masks.flatten(1).float()
    common = truth @ predicted.T
    return common / (truth.sum(1)[:, None] + predicted.sum(1) - common + OVERLAP_EPSILON)


def stretched(values: Tensor) -> Tensor:
    """Each row brought to [0, 1]."""
    least, most = values.amin(dim=1, keepdim=True), values.amax(dim=1, keepdim=True)
    return (values - least) / (most - least + STRETCH_EPSILON)


def compensation_loss(features: Tensor, frozen: Tensor) -> Tensor:
    """Features of the tuned tower should look like those of the frozen one, summed over rows and columns.

    Args:
        features, frozen: (B, C, h, w).

    Source: MAFT+ (see `ranking_loss`), representation compensation.
    """
    width = features.shape[-1]  # the windows below are parts of it, also where the features are made square
    a, b = (_square(F.relu(x)) for x in (features, frozen))
    ours, theirs = ([_sums(x, width // parts) for parts in POOLINGS if width >= parts] for x in (a, b))
    return F.smooth_l1_loss(torch.cat(ours, dim=-1), torch.cat(theirs, dim=-1))


def _square(features: Tensor) -> Tensor:
    height, width = features.shape[-2:]
    if height == width:
        return features
    side = max(height, width)
    return F.interpolate(features, size=(side, side), mode="bilinear", align_corners=False)


def _sums(features: Tensor, window: int) -> Tensor:
    """Sums over rows and over columns of the pooled features: (B, C, both, one after the other)."""
    pooled = F.avg_pool2d(features, window, stride=window)
    return torch.cat([pooled.sum(dim=-2), pooled.sum(dim=-1)], dim=-1)


def matched_cross_entropy(class_logits: Tensor, match: Match, labels: Tensor) -> Tensor:
    """Cross entropy of what CLIP says of matched queries; 0 without any.

    As released, probabilities enter it in the place of logits, so that they go through a softmax twice.

    Args:
        class_logits: (B, Q, C) of CLIP, without void.
        match: queries and their masks of the ground truth.
        labels: (T,) classes of the ground truth.

    Source: Kormushev et al., OVRCOAT, CVPR 2026, released code.
    """
    probabilities = class_logits.softmax(dim=-1)[match.image, match.query]
    total = F.cross_entropy(probabilities, labels[match.target], reduction="sum")
    return total / max(len(match.query), 1)


def gram_loss(features: Tensor, frozen: Tensor) -> Tensor:
    """Mean squared difference of the cosines between channels, of the tuned tower and of the frozen one.

    Args:
        features, frozen: (B, C, h, w).

    Source: as `matched_cross_entropy`.
    """
    ours, theirs = (F.normalize(x.flatten(2), dim=-1) for x in (features, frozen))
    return F.mse_loss(ours @ ours.mT, theirs @ theirs.mT)


# What compares the dense features (B, C, h, w) of the tuned tower and of the frozen one, by published name.
TEACHER_LOSSES = {"rc_loss": compensation_loss, "dist_loss": gram_loss}
