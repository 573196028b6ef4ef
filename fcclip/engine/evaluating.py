"""Evaluating while a training goes on: every so many iterations, and again if a run was killed in the middle of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import hooks
from detectron2.utils import comm

from fcclip.evaluation.build import inference_folder
from fcclip.evaluation.loop import UNFINISHED


class PeriodicEvaluation(hooks.EvalHook):
    """Evaluates every TEST.EVAL_PERIOD iterations and at the end.

    The checkpoint of an iteration is written before its evaluation. So a training that goes on from there first looks
    whether that evaluation was finished, and else does the rest of it.

    Args:
        cfg: of the training.
        evaluate: the results by task and metric; every process calls it.
    """

    def __init__(self, cfg: CfgNode, evaluate: Callable[[], dict[str, Any]]) -> None:
        super().__init__(cfg.TEST.EVAL_PERIOD, evaluate)
        self._cfg = cfg

    def before_train(self) -> None:
        start = self.trainer.start_iter
        is_due = self._period > 0 and start % self._period == 0 and 0 < start < self.trainer.max_iter
        if is_due and not comm.all_gather(self._is_finished(start))[0]:
            self._go_back_to(start - 1)
            self._do_eval()
            self._go_back_to(start)

    def _is_finished(self, done: int) -> bool:
        """Whether all test sets have been evaluated after so many iterations."""
        folders = [inference_folder(self._cfg, name) for name in self._cfg.DATASETS.TEST]
        return all(_iteration_of(folder) == done and not (folder / UNFINISHED).exists() for folder in folders)

    def _go_back_to(self, iteration: int) -> None:
        """Let the results be those of an iteration."""
        self.trainer.iter = self.trainer.storage.iter = iteration


def _iteration_of(folder: Path) -> int | None:
    """After how many iterations the results in a folder were measured; None if there are none."""
    try:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))["run"]["iteration"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None
