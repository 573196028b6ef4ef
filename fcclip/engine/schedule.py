"""Learning-rate schedules: Detectron2's, DeepLab's polynomial one, and mmsegmentation's that ends at a least rate."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.projects.deeplab import build_lr_scheduler as build_detectron2_scheduler
from torch.optim.lr_scheduler import _LRScheduler

POLY_TO_LEAST = "WarmupPolyToLeastLR"


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
    """The schedule of SOLVER.LR_SCHEDULER_NAME.

    Raises:
        ValueError: the name is unknown.
    """
    node = cfg.SOLVER
    if node.LR_SCHEDULER_NAME == POLY_TO_LEAST:
        return PolyToLeastLR(
            optimizer, node.MAX_ITER, node.POLY_LR_POWER, node.LEAST_LR, node.WARMUP_ITERS, node.WARMUP_FACTOR
        )
    return build_detectron2_scheduler(cfg, optimizer)


class PolyToLeastLR(_LRScheduler):  # the base class whose state Detectron2 puts into checkpoints
    """A polynomial decay from each group's rate to a least one, times a linear warm-up.

    At iteration t of T, before the step: `(rate - least) * (1 - t / T) ** power + least`; during the warm-up times
    `1 - (1 - t / warmup) * (1 - warmup_factor)`.

    Args:
        optimizer: its groups' rates are those of the start.
        iterations: T.
        power: of the decay.
        least: the rate at T.
        warmup: iterations of the warm-up; 0 for none.
        warmup_factor: factor at t = 0.

    Source: mmsegmentation's "poly" policy, as ZegCLIP and Cascade-CLIP use it.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        iterations: int,
        power: float,
        least: float,
        warmup: int = 0,
        warmup_factor: float = 0.0,
    ) -> None:
        self.iterations, self.power, self.least = iterations, power, least
        self.warmup, self.warmup_factor = warmup, warmup_factor
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        """The rate of each group at the present iteration."""
        decay = max(1 - self.last_epoch / self.iterations, 0.0) ** self.power
        remaining = max(1 - self.last_epoch / self.warmup, 0.0) if self.warmup else 0.0
        factor = 1 - remaining * (1 - self.warmup_factor)
        return [((base - self.least) * decay + self.least) * factor for base in self.base_lrs]
