"""Which query answers for which ground-truth mask: the assignment of least total cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fcclip.modeling.points import sample_logits, sample_masks


@dataclass(frozen=True)
class Targets:
    """Ground truth of a batch of B images with T masks altogether, image after image.

    Attributes:
        labels: (T,) int64 classes.
        masks: (T, H, W) bool.
        counts: masks of each image; their sum is T.
    """

    labels: Tensor
    masks: Tensor
    counts: tuple[int, ...]

    @classmethod
    def join(cls, targets: Sequence[Mapping[str, Tensor]]) -> Targets:
        """Join per-image {"labels": (n,), "masks": (n, H, W)}; smaller masks are padded right and below with zeros."""
        height = max(target["masks"].shape[-2] for target in targets)
        width = max(target["masks"].shape[-1] for target in targets)
        masks = [_pad_to(target["masks"].bool(), height, width) for target in targets]
        labels = torch.cat([target["labels"] for target in targets]).long()
        return cls(labels, torch.cat(masks), tuple(len(target["labels"]) for target in targets))

    def num_matched(self, num_queries: int) -> int:
        """How many pairs any matching has: an image never has more of them than queries."""
        return sum(min(num_queries, count) for count in self.counts)

    def padded_rows(self) -> Tensor:
        """For each image, the rows of `labels` and `masks` that are its own: (B, most targets of an image) int64.

        Beyond an image's count stands 0, the row of another one; what is computed of it must be left out.
        """
        own = torch.arange(len(self.labels)).split(self.counts)
        return pad_sequence(own, batch_first=True).to(self.labels.device)


@dataclass(frozen=True)
class Match:
    """N pairs of a query and a target; three (N,) int64 tensors. Sorted by image, then by query."""

    image: Tensor
    query: Tensor
    target: Tensor


@dataclass(frozen=True)
class HungarianMatcher:
    """Weights of the three parts of the matching cost (those of the losses; Mask2Former, CVPR 2022)."""

    class_weight: float
    mask_weight: float
    dice_weight: float

    @torch.no_grad()
    def __call__(
        self, outputs: Sequence[Mapping[str, Tensor]], targets: Targets, points: Sequence[Tensor]
    ) -> list[Match]:
        """Match every supervised output on its own.

        All costs travel to the CPU in one copy, and the pairs back in another, so that a GPU is waited for once a step.

        Args:
            outputs: each with "pred_logits" (B, Q, C + 1) and "pred_masks" (B, Q, h, w).
            targets: the joined ground truth of the B images.
            points: per output (B, P, 2), where its masks are compared.

        Raises:
            FloatingPointError: a cost is NaN or infinite.
        """
        rows = targets.padded_rows()
        on_device = [self._costs(output, targets, rows, coords) for output, coords in zip(outputs, points, strict=True)]
        costs = torch.stack(on_device).cpu().numpy()
        if not np.isfinite(costs).all():
            raise FloatingPointError(
                "the predictions that are to be matched contain NaN or infinity; lower SOLVER.BASE_LR, or train with "
                "SOLVER.AMP.DTYPE bfloat16 or without AMP"
            )
        pairs = np.stack([_assign(of_output, targets.counts) for of_output in costs])
        return [Match(*pair) for pair in torch.from_numpy(pairs).to(targets.labels.device)]

    def _costs(self, output: Mapping[str, Tensor], targets: Targets, rows: Tensor, points: Tensor) -> Tensor:
        """Costs of one output between the queries and the `rows` (B, n) of each image: (B, Q, n) float32."""
        # In half precision the sums over thousands of points would overflow.
        with torch.autocast(points.device.type, enabled=False):
            probabilities = output["pred_logits"].float().softmax(-1)
            labels = targets.labels[rows][:, None].expand(-1, probabilities.shape[1], -1)
            # Image by image, so that there is no float32 copy of the masks of all.
            sampled = [
                sample_logits(masks[None].float(), coords[None])
                for masks, coords in zip(output["pred_masks"], points, strict=True)
            ]
            logits = torch.cat(sampled)
            truth = sample_masks(targets.masks, rows, points[:, None])
            return (
                self.mask_weight * mask_cost(logits, truth)
                - self.class_weight * probabilities.gather(2, labels)
                + self.dice_weight * dice_cost(logits, truth)
            )


def mask_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross entropy between each of (B, Q, P) logits and each of (B, n, P) truths in [0, 1]: (B, Q, n).

    BCE(x, t) = softplus(x) - x t, so one matrix product does it.
    """
    return (F.softplus(logits).sum(-1, keepdim=True) - logits @ truth.mT) / logits.shape[-1]


def dice_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 |a b| + 1) / (|a| + |b| + 1) for each of (B, Q, P) logits and each of (B, n, P) truths: (B, Q, n)."""
    probabilities = logits.sigmoid()
    overlap = 2 * probabilities @ truth.mT
    return 1 - (overlap + 1) / (probabilities.sum(-1)[..., None] + truth.sum(-1)[..., None, :] + 1)


def _pad_to(masks: Tensor, height: int, width: int) -> Tensor:
    return F.pad(masks, (0, width - masks.shape[-1], 0, height - masks.shape[-2]))


def _assign(costs: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Solve one assignment an image; (3, N) int64: image, query, target counted over the whole batch.

    Args:
        costs: (B, Q, most targets of an image).
        counts: targets of each image.
    """
    columns = []
    first_target = 0
    for image, (cost, count) in enumerate(zip(costs, counts, strict=True)):
        queries, targets = linear_sum_assignment(cost[:, :count])
        columns.append(np.stack([np.full_like(queries, image), queries, targets + first_target]))
        first_target += count
    return np.concatenate(columns, axis=1).astype(np.int64)
