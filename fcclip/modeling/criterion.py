"""The training losses: classification of every query, and mask and dice losses of the matched ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import Tensor, nn

from fcclip.modeling.matcher import HungarianMatcher, Match, Targets
from fcclip.modeling.points import PointDraws, PointSampler, sample_logits, sample_masks


@dataclass(frozen=True)
class Assignment:
    """The supervised outputs of a step, each matched with the ground truth.

    Attributes:
        layers: the outputs, the last layer's first.
        truth: the joined ground truth.
        matches: of each output.
        draws: what is random in the losses of each output.
    """

    layers: Sequence[Mapping[str, Any]]
    truth: Targets
    matches: Sequence[Match]
    draws: Sequence[PointDraws]


class SetCriterion(nn.Module):
    """Losses of a set of predicted masks against the ground truth, for every supervised output.

    Source: Cheng et al., Masked-attention Mask Transformer, CVPR 2022, section 3.3.
    """

    empty_weight: Tensor

    def __init__(
        self,
        num_classes: int,
        matcher: HungarianMatcher,
        sampler: PointSampler,
        loss_weights: Mapping[str, float],
        no_object_weight: float,
        deep_supervision: bool = True,
    ) -> None:
        """
        Args:
            num_classes: C, without void.
            matcher: pairs queries with targets.
            sampler: chooses the points of the mask losses.
            loss_weights: factor of each of "loss_ce", "loss_mask" and "loss_dice".
            no_object_weight: weight of the void class in the cross entropy.
            deep_supervision: give losses for the auxiliary outputs too.
        """
        super().__init__()
        self.num_classes = num_classes
        self.matcher = matcher
        self.sampler = sampler
        self.loss_weights = dict(loss_weights)
        self.deep_supervision = deep_supervision
        empty_weight = torch.ones(num_classes + 1)
        empty_weight[-1] = no_object_weight
        self.register_buffer("empty_weight", empty_weight)

    def forward(self, outputs: Mapping[str, Any], targets: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The weighted losses: `losses` of what `match` gives for the same arguments."""
        return self.losses(self.match(outputs, targets))

    def match(self, outputs: Mapping[str, Any], targets: Sequence[Mapping[str, Tensor]]) -> Assignment:
        """Match the outputs with the ground truth.

        Args:
            outputs: "pred_logits" (B, Q, C + 1), "pred_masks" (B, Q, h, w), "aux_outputs": list of the same.
            targets: per image {"labels": (n,) int64, "masks": (n, H, W)}; n may be 0.

        Raises:
            ValueError: the model tells apart another number of classes.
            FloatingPointError: the predictions contain NaN or infinity.
        """
        num_classes = outputs["pred_logits"].shape[-1] - 1
        if num_classes != self.num_classes:
            raise ValueError(
                f"MODEL.SEM_SEG_HEAD.NUM_CLASSES is {self.num_classes}, but the training vocabulary has {num_classes} "
                f"classes; set it to {num_classes}"
            )
        layers = [outputs, *outputs["aux_outputs"]] if self.deep_supervision else [outputs]
        truth = Targets.join(targets)
        num_images, num_queries = outputs["pred_logits"].shape[:2]
        num_matched = truth.num_matched(num_queries)
        # Everything random is drawn before anything is computed: the sizes are known, the order is that of the
        # published code, and the matchings of all layers can share one copy to the CPU.
        draws = [self.sampler.draw(num_images, num_matched, truth.masks.device) for _ in layers]
        matches = self.matcher(layers, truth, [draw.matching for draw in draws])
        return Assignment(layers, truth, matches, draws)

    def losses(self, assignment: Assignment) -> dict[str, Tensor]:
        """The weighted losses.

        Returns:
            Scalars loss_ce, loss_mask, loss_dice, then the same with suffix _0, _1, ... of the auxiliary outputs.
        """
        truth = assignment.truth
        normaliser = _mean_over_processes(len(truth.labels), truth.masks.device)
        losses: dict[str, Tensor] = {}
        matched = zip(assignment.layers, assignment.matches, assignment.draws, strict=True)
        for index, (layer, match, draw) in enumerate(matched):
            suffix = f"_{index - 1}" if index else ""
            layer_losses = {
                "loss_ce": self._class_loss(layer["pred_logits"], match, truth),
                **self._mask_losses(layer["pred_masks"], match, truth, draw, normaliser),
            }
            losses.update({name + suffix: self.loss_weights[name] * loss for name, loss in layer_losses.items()})
        return losses

    def _class_loss(self, class_logits: Tensor, match: Match, truth: Targets) -> Tensor:
        """Cross entropy of (B, Q, C + 1) logits; queries without a match should say void (class C)."""
        labels = torch.full(class_logits.shape[:2], self.num_classes, device=class_logits.device)
        labels[match.image, match.query] = truth.labels[match.target]
        return F.cross_entropy(class_logits.float().flatten(0, 1), labels.flatten(), self.empty_weight)

    def _mask_losses(
        self, mask_logits: Tensor, match: Match, truth: Targets, draws: PointDraws, normaliser: Tensor | float
    ) -> dict[str, Tensor]:
        """Binary cross entropy and dice of the matched of (B, Q, h, w) mask logits, at sampled points."""
        matched = mask_logits[match.image, match.query].float()
        points = self.sampler.select(matched, draws)
        logits = sample_logits(matched[:, None], points)[:, 0]
        labels = sample_masks(truth.masks, match.target, points)
        mask_loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        return {
            "loss_mask": mask_loss.sum() / normaliser,
            "loss_dice": dice_loss(logits, labels).sum() / normaliser,
        }


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - (2 |a b| + 1) / (|a| + |b| + 1) over the points of each mask: (N, P), (N, P) -> (N,).

    Source: Milletari et al., V-Net, 3DV 2016, smoothed by 1.
    """
    probabilities = logits.sigmoid()
    overlap = 2 * (probabilities * labels).sum(1)
    return 1 - (overlap + 1) / (probabilities.sum(1) + labels.sum(1) + 1)


def build_criterion(cfg: CfgNode) -> SetCriterion:
    """The criterion of MODEL.MASK_FORMER for MODEL.SEM_SEG_HEAD.NUM_CLASSES classes."""
    node = cfg.MODEL.MASK_FORMER
    return SetCriterion(
        num_classes=cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
        matcher=HungarianMatcher(node.CLASS_WEIGHT, node.MASK_WEIGHT, node.DICE_WEIGHT),
        sampler=PointSampler(node.TRAIN_NUM_POINTS, node.OVERSAMPLE_RATIO, node.IMPORTANCE_SAMPLE_RATIO),
        loss_weights={
            "loss_ce": node.CLASS_WEIGHT,
            "loss_mask": node.MASK_WEIGHT,
            "loss_dice": node.DICE_WEIGHT,
        },
        no_object_weight=node.NO_OBJECT_WEIGHT,
        deep_supervision=node.DEEP_SUPERVISION,
    )


def _mean_over_processes(count: int, device: torch.device) -> Tensor | float:
    """Mean of a count over all processes, at least 1; a tensor where it was communicated, so that nobody waits."""
    if comm.get_world_size() == 1:
        return max(count, 1.0)
    total = torch.tensor(float(count), device=device)
    dist.all_reduce(total)
    return (total / comm.get_world_size()).clamp(min=1)
