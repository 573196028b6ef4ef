"""What a mask adapter is trained on: masks of the ground truth, and predicted masks beside the truth that they hit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor

UNLABELLED = -1
CLASS_WEIGHT = 2.0
IOU_EPSILON = 1e-6
TRUTH_LEVEL = 0.5  # a pixel of a truth that was resized belongs to it above this


@dataclass(frozen=True)
class LabelledMasks:
    """Masks of one image; (n, H, W) float32 in [0, 1] and (n,) int64 classes, n at least 1.

    An image without masks has an empty one, whose label is `UNLABELLED`: no loss counts it.
    """

    masks: Tensor
    labels: Tensor


@dataclass(frozen=True)
class MaskPairs:
    """n predicted masks of one image, each with the truth that it hits; n may be 0.

    Attributes:
        predicted: (n, h, w) float32, 0 or 1.
        truth: (n, h, w) float32; soft at the border, because it was resized.
        labels: (n,) int64 classes.
        missing: how many pairs there are too few; as published, empty masks stand for them.
        missing_prediction: the value of all pixels of such a prediction: 1 where the threshold is below one half, as
            the mask logit 0 is then above it.
    """

    predicted: Tensor
    truth: Tensor
    labels: Tensor
    missing: int
    missing_prediction: float


@dataclass(frozen=True)
class PairRule:
    """How predictions are paired with the truth.

    Attributes:
        count: most pairs of an image.
        least_iou: a pair's intersection over union is above this.
        compared_from: a pixel belongs to a prediction from this probability on where the two are compared;
        threshold: above this probability where the adapter is shown the prediction.
    """

    count: int
    least_iou: float
    compared_from: float
    threshold: float


def draw_truth(target: Mapping[str, Tensor], count: int) -> LabelledMasks:
    """At most `count` masks of the ground truth of an image, drawn at random where there are more; no empty ones.

    Args:
        target: {"labels": (n,) int64, "masks": (n, H, W) bool}.
        count: most masks.
    """
    masks, labels = _without_empty(target)
    if len(labels) > count:
        drawn = torch.randperm(len(labels), device=labels.device)[:count]
        masks, labels = masks[drawn], labels[drawn]
    if len(labels) == 0:
        return LabelledMasks(masks.new_zeros(1, *masks.shape[1:]).float(), labels.new_full((1,), UNLABELLED))
    return LabelledMasks(masks.float(), labels)


@torch.no_grad()
def draw_pairs(mask_logits: Tensor, target: Mapping[str, Tensor], rule: PairRule) -> MaskPairs:
    """Pair masks of the ground truth with predictions.

    Every truth takes one prediction at random among those that overlap it enough; a prediction may serve twice.

    Args:
        mask_logits: (Q, h, w).
        target: {"labels": (n,) int64, "masks": (n, H, W) bool}.
        rule: which overlap is enough.

    Source: Li et al., "Mask-Adapter: The Devil is in the Masks for Open-Vocabulary Segmentation", CVPR 2025,
    section 3.3 (mixed-mask training), and its released code.
    """
    masks, labels = _without_empty(target)
    probabilities = mask_logits.float().sigmoid()
    truth = F.interpolate(masks[:, None].float(), size=mask_logits.shape[-2:], mode="bilinear", align_corners=False)
    hits = pairwise_iou(probabilities >= rule.compared_from, truth[:, 0] > TRUTH_LEVEL) > rule.least_iou
    taken = hits.any(dim=0).nonzero()[:, 0]
    if len(taken) > rule.count:
        taken = taken[torch.randperm(len(taken), device=taken.device)[: rule.count]]
    queries = torch.multinomial(hits[:, taken].T.float(), 1)[:, 0] if len(taken) else taken
    return MaskPairs(
        predicted=(probabilities[queries] > rule.threshold).float(),
        truth=truth[taken, 0],
        labels=labels[taken],
        missing=rule.count - len(taken),
        missing_prediction=float(rule.threshold < 0.5),
    )


def pairwise_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of every one of (Q, h, w) and every one of (n, h, w) bool masks: (Q, n)."""
    a, b = predicted.flatten(1).float(), truth.flatten(1).float()
    intersection = a @ b.T
    union = a.sum(1)[:, None] + b.sum(1) - intersection
    return intersection / (union + IOU_EPSILON)


@dataclass(frozen=True)
class AdapterLosses:
    """The losses of a mask adapter, weighted.

    Attributes:
        class_weight: of the cross entropy of all labelled masks.
        cosine_weight: of one minus the cosine between the embeddings of a prediction and of its truth.
        follows_truth: the prediction's embedding is drawn to that of the truth, which stays where it is; else both
            are drawn to each other.
    """

    class_weight: float
    cosine_weight: float
    follows_truth: bool

    def __call__(
        self,
        embed: Callable[[int, Tensor], Tensor],
        classify: Callable[[int, Tensor], Tensor],
        truth: Sequence[LabelledMasks],
        pairs: Sequence[MaskPairs] = (),
    ) -> dict[str, Tensor]:
        """Compute them.

        Args:
            embed: number of an image and masks (n, H, W) of it -> embeddings (n, E).
            classify: number of an image and embeddings (n, E) -> class logits (n, C + 1), void last.
            truth: of each image.
            pairs: of each image; none in the warm-up.

        Returns:
            Scalars `loss_ce` and, with pairs, `loss_cosine`.
        """
        logits: list[Tensor] = []
        labels: list[Tensor] = []
        distances: list[Tensor] = []
        for image, drawn in enumerate(truth):
            size = drawn.masks.shape[-2:]
            masks, counts, its_labels = [drawn.masks], [len(drawn.labels)], [drawn.labels]
            if pairs:
                predicted, true = _with_stand_in(pairs[image], size)
                masks += [predicted, true]
                counts += [len(predicted), len(true)]
                its_labels += 2 * [_padded(pairs[image].labels, len(true))]
            embeddings = embed(image, torch.cat(masks))
            if pairs:
                _, of_prediction, of_truth = embeddings.split(counts)
                distances.append(self._distance(of_prediction, of_truth, pairs[image]))
            logits.append(classify(image, embeddings))
            labels += its_labels
        losses = {"loss_ce": self.class_weight * mean_cross_entropy(torch.cat(logits), torch.cat(labels))}
        if pairs:
            asked = sum(len(pair.labels) + pair.missing for pair in pairs)
            losses["loss_cosine"] = self.cosine_weight * torch.stack(distances).sum() / asked
        return losses

    def _distance(self, predicted: Tensor, truth: Tensor, pairs: MaskPairs) -> Tensor:
        """Sum of one minus the cosine over the pairs of an image; the last row, if one too many, stands for all others.

        Empty masks that stand for both sides of a missing pair have the cosine 1, and are not there.
        """
        distances = 1 - F.cosine_similarity(predicted, truth.detach() if self.follows_truth else truth, dim=-1)
        if len(distances) == len(pairs.labels):
            return distances.sum()
        return distances[:-1].sum() + pairs.missing * distances[-1]


@dataclass(frozen=True)
class AdapterTraining:
    """What a training of a mask adapter draws from each image, and its losses.

    Attributes:
        truths: most masks of the ground truth of an image.
        pairs: how predictions are paired with the ground truth; None in the warm-up, which needs no predictions.
        losses: of both.
    """

    truths: int
    pairs: PairRule | None
    losses: AdapterLosses

    def draw(
        self, mask_logits: Tensor | None, targets: Sequence[Mapping[str, Tensor]]
    ) -> tuple[list[LabelledMasks], list[MaskPairs]]:
        """What `losses` takes, of each image; no pairs in the warm-up.

        Args:
            mask_logits: (B, Q, h, w); not needed in the warm-up.
            targets: per image {"labels": (n,) int64, "masks": (n, H, W)}.
        """
        truth = [draw_truth(target, self.truths) for target in targets]
        if self.pairs is None or mask_logits is None:
            return truth, []
        rule = self.pairs
        return truth, [draw_pairs(logits, target, rule) for logits, target in zip(mask_logits, targets, strict=True)]


def build_adapter_training(cfg: CfgNode, on_tuned_clip: bool) -> AdapterTraining | None:
    """The training of MODEL.MASK_ADAPTER; None without an adapter.

    Args:
        cfg: the configuration.
        on_tuned_clip: as published for MAFT+: the embeddings of a pair are drawn to each other, and masks are compared
            at another threshold.
    """
    node = cfg.MODEL.MASK_ADAPTER
    if not node.NAME:
        return None
    compared_from = 0.5 if on_tuned_clip else 0.4
    rule = PairRule(node.NUM_PRED_MASKS, node.IOU_THRESHOLD, compared_from, node.MASK_THRESHOLD)
    losses = AdapterLosses(CLASS_WEIGHT, node.COS_WEIGHT, follows_truth=not on_tuned_clip)
    return AdapterTraining(node.NUM_GT_MASKS, None if node.WARM_UP else rule, losses)


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross entropy of (n, C) logits over those with a label; 0, with a gradient, if there is none."""
    total = F.cross_entropy(logits.float(), labels, ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def _without_empty(target: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    masks = target["masks"].bool()
    shown = masks.flatten(1).any(dim=1)
    return masks[shown], target["labels"][shown].long()


def _with_stand_in(pairs: MaskPairs, size: torch.Size) -> tuple[Tensor, Tensor]:
    """The two sides of the pairs at the image's size, with one more for missing pairs where its sides differ."""
    predicted, truth = pairs.predicted, pairs.truth
    if pairs.missing and pairs.missing_prediction:
        predicted = F.pad(predicted, (0, 0, 0, 0, 0, 1), value=pairs.missing_prediction)
        truth = F.pad(truth, (0, 0, 0, 0, 0, 1))
    sides = torch.cat([predicted, truth])
    if len(sides) > 0:
        sides = F.interpolate(sides[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    else:
        sides = sides.new_zeros(0, *size)
    half = len(sides) // 2
    return sides[:half], sides[half:]


def _padded(labels: Tensor, count: int) -> Tensor:
    return F.pad(labels, (0, count - len(labels)), value=UNLABELLED)
