"""The evaluation of a training run: all test sets, each with its own classes."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from torch import nn

from fcclip.engine.distributed import unwrapped
from fcclip.evaluation.loop import evaluate_all, evaluate_all_with_tta


def evaluate_test_sets(cfg: CfgNode, model: nn.Module, with_tta: bool = False) -> dict[str, Any]:
    """Evaluate a model on all of DATASETS.TEST; every process must call it.

    Args:
        cfg: of the training.
        model: may be wrapped for distributed training.
        with_tta: evaluate once more with test-time augmentation.

    Returns:
        On the main process the metrics by task, such as {"panoptic_seg": {"PQ": ...}}; of several test sets, those by
        name of the test set. On other processes empty dicts.
    """
    model = unwrapped(model)
    results: dict[str, Any] = evaluate_all(model, cfg)
    if with_tta:
        for name, augmented in evaluate_all_with_tta(model, cfg).items():
            results[name] = {**results[name], **augmented}
    return next(iter(results.values())) if len(results) == 1 else results
