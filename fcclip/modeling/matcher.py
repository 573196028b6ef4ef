"""Which query answers for which ground-truth mask: the assignment of least total cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

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

    def rows(self) -> list[Tensor]:
        """For each image, the rows of `labels` and `masks` that are its own, (n,) int64."""
        return list(torch.arange(len(self.labels), device=self.labels.device).split(self.counts))


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
        costs = [
            cost
            for output, coords in zip(outputs, points, strict=True)
            for cost in self._costs(output, targets, coords)
        ]
        shapes = [cost.shape for cost in costs]
        flat = torch.cat([cost.flatten() for cost in costs]).cpu().numpy()
        if not np.isfinite(flat).all():
            raise FloatingPointError(
                "the predictions that are to be matched contain NaN or infinity; lower SOLVER.BASE_LR, or train with "
                "SOLVER.AMP.DTYPE bfloat16 or without AMP"
            )
        matrices = [part.reshape(shape) for part, shape in zip(_split(flat, shapes), shapes, strict=True)]
        num_images = len(targets.counts)
        pairs = np.stack(
            [_assign(matrices[i : i + num_images], targets.counts) for i in range(0, len(matrices), num_images)]
        )
        return [Match(*pair) for pair in torch.from_numpy(pairs).to(targets.labels.device)]

    def _costs(self, output: Mapping[str, Tensor], targets: Targets, points: Tensor) -> list[Tensor]:
        """Cost matrices of one output: per image (Q, n) float32."""
        costs = []
        # In half precision the sums over thousands of points would overflow.
        with torch.autocast(points.device.type, enabled=False):
            for image, rows in enumerate(targets.rows()):
                coords = points[image : image + 1]
                probabilities = output["pred_logits"][image].float().softmax(-1)
                logits = sample_logits(output["pred_masks"][image : image + 1].float(), coords)[0]
                truth = sample_masks(targets.masks, rows, coords)
                costs.append(
                    self.mask_weight * mask_cost(logits, truth)
                    - self.class_weight * probabilities[:, targets.labels[rows]]
                    + self.dice_weight * dice_cost(logits, truth)
                )
        return costs


def mask_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross entropy between each of (Q, P) logits and each of (n, P) truths in [0, 1]: (Q, n).

    BCE(x, t) = softplus(x) - x t, so one matrix product does it.
    """
    return (F.softplus(logits).sum(1, keepdim=True) - logits @ truth.T) / logits.shape[1]


def dice_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 |a b| + 1) / (|a| + |b| + 1) for each of (Q, P) logits and each of (n, P) truths: (Q, n)."""
    probabilities = logits.sigmoid()
    overlap = 2 * probabilities @ truth.T
    return 1 - (overlap + 1) / (probabilities.sum(1)[:, None] + truth.sum(1)[None] + 1)


def _pad_to(masks: Tensor, height: int, width: int) -> Tensor:
    return F.pad(masks, (0, width - masks.shape[-1], 0, height - masks.shape[-2]))


def _split(flat: np.ndarray, shapes: Sequence[torch.Size]) -> list[np.ndarray]:
    return np.split(flat, np.cumsum([shape.numel() for shape in shapes])[:-1])


def _assign(costs: Sequence[np.ndarray], counts: Sequence[int]) -> np.ndarray:
    """Solve one assignment an image; (3, N) int64: image, query, target counted over the whole batch."""
    columns = []
    first_target = 0
    for image, (cost, count) in enumerate(zip(costs, counts, strict=True)):
        queries, targets = linear_sum_assignment(cost)
        columns.append(np.stack([np.full_like(queries, image), queries, targets + first_target]))
        first_target += count
    return np.concatenate(columns, axis=1).astype(np.int64)
