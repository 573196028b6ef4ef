"""The evaluation of a configuration: all its test sets, each with its own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from fcclip.evaluation.loop import evaluate
from fcclip.evaluation.origin import Origin
from fcclip.evaluation.report.pictures import Show
from fcclip.evaluation.tta import SemanticSegmentorWithTTA


def evaluate_test_sets(
    cfg: CfgNode, model: nn.Module, with_tta: bool = False, origin: Origin | None = None, show: Show | None = None
) -> dict[str, Any]:
    """Evaluate a model on all of DATASETS.TEST; every process must call it.

    Args:
        cfg: of the training.
        model: as it was built, not wrapped for distributed training.
        with_tta: evaluate once more under the test-time augmentation of TEST.AUG; its files go to
            OUTPUT_DIR/inference_TTA, and the tasks in its results have the suffix "_TTA".
        origin: of the weights, for the report; default the file MODEL.WEIGHTS.
        show: given pictures of the first images of each test set, see `evaluate`.

    Returns:
        On the main process the metrics by task, such as {"panoptic_seg": {"PQ": ...}}; of several test sets, those by
        name of the test set. On other processes empty dicts.

    Examples:
        >>> from fcclip import Segmenter
        >>> from fcclip.config import load_inference_cfg
        >>> from fcclip.zoo import find_pretrained
        >>> found = find_pretrained("panoshapes")
        >>> cfg = load_inference_cfg(found.config, ("DATASETS.TEST", "()"), found.weights, "cpu")
        >>> evaluate_test_sets(cfg, Segmenter.from_cfg(cfg).model)  # no test set, no result
        {}
    """
    results: dict[str, Any] = {
        name: dict(evaluate(model, cfg, name, origin=origin, show=show)) for name in cfg.DATASETS.TEST
    }
    if with_tta:
        augmented = SemanticSegmentorWithTTA(cfg, model)
        for name in cfg.DATASETS.TEST:
            folder = Path(cfg.OUTPUT_DIR) / "inference_TTA" / name
            tasks = evaluate(augmented, cfg, name, folder, origin=origin)
            results[name] |= {f"{task}_TTA": values for task, values in tasks.items()}
    return next(iter(results.values())) if len(results) == 1 else results
