"""Label maps for training with unseen classes: hidden, or guessed by the model itself."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

IGNORE = 255


def seen_labels(labels: Tensor, unseen: Collection[int], classes: int) -> Tensor:
    """Number the seen classes from 0, in order; pixels of unseen ones are ignored.

    Args:
        labels: (...) int64, 0..classes-1, and 255 where ignored.
        unseen: ids of the unseen classes.
        classes: number of all classes.
    """
    table = torch.full((IGNORE + 1,), IGNORE, device=labels.device)
    seen = [label for label in range(classes) if label not in unseen]
    table[seen] = torch.arange(len(seen), device=labels.device)
    return table[labels]


def pseudo_labels(labels: Tensor, logits: Tensor, unseen: Collection[int]) -> Tensor:
    """Give each pixel of an unseen class the unseen class that the model thinks likeliest.

    The ground truth still says where unseen classes are; only which one it is, is guessed (the published protocol).

    Args:
        labels: (B, H, W) int64, 0..K-1, and 255 where ignored.
        logits: (B, K, H, W) of the present forward pass.
        unseen: ids of the unseen classes.

    Returns:
        (B, H, W); seen and ignored pixels as they were.
    """
    candidates = torch.tensor(sorted(unseen), device=labels.device)
    guess = candidates[logits.detach()[:, candidates].argmax(dim=1)]
    return torch.where(torch.isin(labels, candidates), guess, labels)
