"""Evaluating while a training goes on: every so many iterations, and again if a run was killed in the middle of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.engine import hooks
from detectron2.utils import comm

from fcclip.engine.writers import METRICS, recorded_names
from fcclip.evaluation.build import inference_folder
from fcclip.evaluation.loop import UNFINISHED
from fcclip.evaluation.report.comparison import read_results


class PeriodicEvaluation(hooks.EvalHook):
    """Evaluates every TEST.EVAL_PERIOD iterations and at the end.

    The checkpoint of an iteration is written before its evaluation. So a training that goes on from there first looks
    whether that evaluation was finished, and else does the rest of it. Its last trace is its line in metrics.json: a
    run that was killed shortly before may have missed the best weights.

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
        """Whether all test sets have been evaluated after so many iterations, and metrics.json has what came out."""
        tasks: set[str] = set()
        for folder in (inference_folder(self._cfg, name) for name in self._cfg.DATASETS.TEST):
            iteration, found = _results(folder)
            if iteration != done or (folder / UNFINISHED).exists():
                return False
            tasks |= found
        recorded = recorded_names(Path(self._cfg.OUTPUT_DIR) / METRICS, done - 1)
        return all(any(f"{task}/" in name for name in recorded) for task in tasks)

    def _go_back_to(self, iteration: int) -> None:
        """Let the results be those of an iteration."""
        self.trainer.iter = self.trainer.storage.iter = iteration


def _results(folder: Path) -> tuple[int | None, set[str]]:
    """After how many iterations the results in a folder were measured, and of which tasks they are."""
    try:
        found = read_results(folder)
        return found["run"]["iteration"], set(found["results"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, set()
