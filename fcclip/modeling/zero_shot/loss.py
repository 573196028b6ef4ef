"""Losses of zero-shot semantic segmentation: each class on its own (NEL), or all against each other (softmax)."""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from detectron2.utils import comm
from torch import Tensor, nn

from fcclip.files.config_checks import CHOICES
from fcclip.modeling.zero_shot.labels import IGNORE

ALPHA = 0.25  # weight of positive pixels in the focal loss; negative ones have 1 - ALPHA
ABSENT = -100.0  # a logit that is a sure no: without loss and without gradient as a negative
LOSSES = CHOICES["MODEL.ZERO_SHOT.LOSS"]


class NonMutuallyExclusiveLoss(nn.Module):
    """Focal loss and dice loss of every class map on its own, so that classes do not push each other down.

    Args:
        classes: number of classes; the unused buffer `empty_weight` of published checkpoints follows from it.
        mask_weight, dice_weight: of the two losses.
        ignored_as_negatives: ignored pixels, so those of unseen classes, are negatives of every class, as published;
            else they do not count.

    Source: ZegCLIP (Zhou et al., CVPR 2023), section 3.3, equations 8 to 10.
    """

    def __init__(
        self,
        classes: int,
        mask_weight: float = 100.0,
        dice_weight: float = 1.0,
        ignored_as_negatives: bool = True,
    ) -> None:
        super().__init__()
        self.mask_weight, self.dice_weight = mask_weight, dice_weight
        self.ignored_as_negatives = ignored_as_negatives
        empty_weight = torch.ones(classes + 1)
        empty_weight[-1] = 0.1
        self.register_buffer("empty_weight", empty_weight)

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The weighted losses.

        Args:
            logits: (B, K, H, W).
            labels: (B, H, W) int64, 0..K-1, and 255 where ignored.

        Returns:
            `loss_mask` (focal) and `loss_dice`: sums over the maps, divided by how many (image, class) pairs have a
            pixel, on average over the processes.
        """
        logits = logits.float().flatten(2)
        pixels = _LabelledPixels(labels.flatten(1), logits.shape[1])
        if not self.ignored_as_negatives:
            logits = logits.masked_fill(~pixels.known[:, None], ABSENT)
        pairs = _mean_over_processes((pixels.counts > 0).sum())
        return {
            "loss_mask": self.mask_weight * focal_loss(logits, pixels) / pairs,
            "loss_dice": self.dice_weight * dice_loss(logits, pixels) / pairs,
        }


class SoftmaxLoss(nn.Module):
    """Cross-entropy over the classes at every pixel that is not ignored: the ablation of the other loss."""

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Logits (B, K, H, W) and labels (B, H, W) as above -> `loss_mask`, the mean over the pixels."""
        summed = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE, reduction="sum")
        return {"loss_mask": summed / (labels != IGNORE).sum().clamp(min=1)}


def build_loss(kind: str, classes: int, mask_weight: float, dice_weight: float) -> nn.Module:
    """The loss of MODEL.ZERO_SHOT.LOSS."""
    if kind in ("nel", "nel_labelled"):
        return NonMutuallyExclusiveLoss(classes, mask_weight, dice_weight, ignored_as_negatives=kind == "nel")
    if kind == "softmax":
        return SoftmaxLoss()
    raise ValueError(f"MODEL.ZERO_SHOT.LOSS must be one of {', '.join(LOSSES)}, not {kind!r}")


class _LabelledPixels:
    """Where each class is, without a map a class.

    Args:
        labels: (B, P), 0..K-1, and 255 where ignored.
        classes: K.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.known = labels != IGNORE
        self.labels = labels.masked_fill(~self.known, 0)
        self._classes = classes
        self.counts = self.sum_by_class(self.known.double())

    def at_label(self, maps: Tensor) -> Tensor:
        """Values (B, P) of each pixel's own class in maps (B, K, P)."""
        return maps.gather(1, self.labels[:, None])[:, 0]

    def sum_by_class(self, values: Tensor) -> Tensor:
        """Sum values (B, P) over the known pixels of each class: (B, K), in double precision."""
        values = values.double() * self.known
        return values.new_zeros(len(values), self._classes).scatter_add(1, self.labels, values)


def focal_loss(logits: Tensor, pixels: _LabelledPixels) -> Tensor:
    """Sum over all B * K maps of the mean focal loss (gamma 2) of their pixels.

    Every pixel is taken as a negative of every class first; then the one class that it belongs to is put right. So
    there is no map of targets.

    Args:
        logits: (B, K, P).
        pixels: their labels.
    """
    negative = (1 - ALPHA) * logits.sigmoid() ** 2 * F.softplus(logits)
    own = pixels.at_label(logits)
    positive = ALPHA * (-own).sigmoid() ** 2 * F.softplus(-own)
    correction = (positive - pixels.at_label(negative)) * pixels.known
    return (negative.sum() + correction.sum()) / logits.shape[-1]


def dice_loss(logits: Tensor, pixels: _LabelledPixels) -> Tensor:
    """Sum of `1 - (2 |p y| + 1) / (|p| + |y| + 1)` over the (image, class) pairs that have a pixel.

    Args:
        logits: (B, K, P).
        pixels: their labels.
    """
    probability = logits.sigmoid()
    overlap = pixels.sum_by_class(pixels.at_label(probability))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=-1) + pixels.counts + 1)
    return (dice * (pixels.counts > 0)).sum().float()


@torch.no_grad()
def pixel_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share, in percent, of the pixels not ignored whose best class is the true one; 100 where all are ignored.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W).
    """
    logits, pixels = logits.flatten(2), _LabelledPixels(labels.flatten(1), logits.shape[1])
    known = pixels.known
    correct = (pixels.at_label(logits) == logits.amax(dim=1)) & known  # amax is faster than argmax
    return 100 * torch.where(
        known.any(), correct.sum() / known.sum().clamp(min=1), torch.ones((), device=logits.device)
    )


def _mean_over_processes(count: Tensor) -> Tensor:
    """The mean of a number over the processes, at least 1."""
    mean = count.float()
    if comm.get_world_size() > 1:
        dist.all_reduce(mean)
        mean /= comm.get_world_size()
    return mean.clamp(min=1)
