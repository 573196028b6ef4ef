"""Learning-rate schedules: Detectron2's, DeepLab's polynomial one, and mmsegmentation's that ends at a least rate."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.projects.deeplab import build_lr_scheduler as build_detectron2_scheduler
from torch.optim.lr_scheduler import LambdaLR

POLY_TO_LEAST = "WarmupPolyToLeastLR"


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
    """The schedule of SOLVER.LR_SCHEDULER_NAME.

    Raises:
        ValueError: the name is unknown.
    """
    if cfg.SOLVER.LR_SCHEDULER_NAME == POLY_TO_LEAST:
        return poly_to_least(cfg, optimizer)
    return build_detectron2_scheduler(cfg, optimizer)


def poly_to_least(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LambdaLR:
    """A polynomial decay from each group's rate to SOLVER.LEAST_LR, times a linear warm-up.

    At iteration t of T, before the step: ``(b - least) * (1 - t / T) ** power + least``; during the warm-up times
    ``1 - (1 - t / WARMUP_ITERS) * (1 - WARMUP_FACTOR)``.

    Source: mmsegmentation's "poly" policy, as ZegCLIP and Cascade-CLIP use it.
    """
    node = cfg.SOLVER

    def factor(base: float, iteration: int) -> float:
        decay = max(1 - iteration / node.MAX_ITER, 0.0) ** node.POLY_LR_POWER
        rate = (base - node.LEAST_LR) * decay + node.LEAST_LR
        remaining = max(1 - iteration / node.WARMUP_ITERS, 0.0) if node.WARMUP_ITERS else 0.0
        return rate / base * (1 - remaining * (1 - node.WARMUP_FACTOR))

    bases = [group.get("initial_lr", group["lr"]) for group in optimizer.param_groups]
    return LambdaLR(optimizer, [lambda iteration, base=base: factor(base, iteration) for base in bases])
