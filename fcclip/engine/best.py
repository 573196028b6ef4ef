"""The checkpoint that is best by one metric on one test set."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation.testing import flatten_results_dict

from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.files.checkpoints import read_checkpoint

logger = logging.getLogger(__name__)

BEST = "model_best"


class BestCheckpoint:
    """Keeps `model_best.pth`, the weights with the best value so far of SOLVER.BEST_CHECKPOINT.METRIC.

    The file says under "best" which metric on which test set that is, its value and after how many iterations.
    """

    def __init__(self, cfg: CfgNode, checkpointer: TrainingCheckpointer) -> None:
        """
        Raises:
            ValueError: the mode is unknown, or the test set is not evaluated.
        """
        node = cfg.SOLVER.BEST_CHECKPOINT
        if node.MODE not in ("max", "min"):
            raise ValueError(f"SOLVER.BEST_CHECKPOINT.MODE must be max or min, not {node.MODE!r}")
        dataset = node.DATASET or next(iter(cfg.DATASETS.TEST), "")
        if dataset not in cfg.DATASETS.TEST:
            raise ValueError(
                f"SOLVER.BEST_CHECKPOINT.DATASET {dataset!r} is not among DATASETS.TEST {list(cfg.DATASETS.TEST)}"
            )
        self._rule = {"metric": node.METRIC, "dataset": dataset}
        # The results of one test set are not prefixed with its name.
        self._key = node.METRIC if len(cfg.DATASETS.TEST) == 1 else f"{dataset}/{node.METRIC}"
        self._sign = 1.0 if node.MODE == "max" else -1.0
        self._checkpointer = checkpointer
        self._best: float | None = None

    def resume(self) -> None:
        """Go on from the `model_best.pth` of an earlier run by the same rule."""
        path = Path(self._checkpointer.save_dir) / f"{BEST}.pth"
        stored = read_checkpoint(path).get("best", {}) if path.is_file() else {}
        if self._rule.items() <= stored.items():
            self._best = stored["value"]

    def update(self, results: Mapping[str, Any], iteration: int) -> None:
        """Save the model if its evaluation after so many iterations is the best so far; a NaN never is."""
        values = flatten_results_dict(dict(results))
        if self._key not in values:
            names = ", ".join(sorted(values)) or "nothing"
            logger.error("SOLVER.BEST_CHECKPOINT.METRIC %r is not evaluated; there is %s", self._key, names)
            return
        value = float(values[self._key])
        if not math.isfinite(value) or (self._best is not None and self._sign * value <= self._sign * self._best):
            return
        self._best = value
        logger.info("best %s on %s so far: %.4f, iteration %d", *self._rule.values(), value, iteration)
        self._checkpointer.save_weights(BEST, best={**self._rule, "value": value, "iteration": iteration})
