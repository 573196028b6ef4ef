"""Where the numbers of a training go: the log, metrics.json, TensorBoard and, if asked for, Weights & Biases."""

from __future__ import annotations

import datetime
import json
import logging
import math
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage, EventWriter, JSONWriter, TensorboardXWriter, get_event_storage

from fcclip.files.process_memory import peak_bytes

logger = logging.getLogger(__name__)

MEGABYTE = 2**20
METRICS = "metrics.json"
WINDOW = 20  # iterations over which noisy numbers are smoothed


def build_writers(cfg: CfgNode, max_iter: int) -> list[EventWriter]:
    """All writers of a training.

    Raises:
        ModuleNotFoundError: WANDB.ENABLED without the package.
    """
    output = Path(cfg.OUTPUT_DIR)
    output.mkdir(parents=True, exist_ok=True)
    writers = [
        ProgressWriter(max_iter, cfg.SOLVER.IMS_PER_BATCH),
        JSONWriter(str(output / METRICS), WINDOW),
        TensorboardXWriter(str(output), WINDOW),
    ]
    return [*writers, WandbWriter(cfg)] if cfg.WANDB.ENABLED else writers


def trim_metrics(path: Path, start: int) -> None:
    """Take the lines of iteration `start` and later out of metrics.json: a resumed training writes them again.

    The file is cut, not replaced, because its writer may have it open.
    """
    if not path.exists():
        return
    kept = 0
    with path.open("r+b") as file:
        for line in file:
            if not line.endswith(b"\n") or _iteration_of(line) >= start:
                break
            kept += len(line)
        file.truncate(kept)


def recorded_names(path: Path, iteration: int) -> set[str]:
    """Names of the numbers that metrics.json has of an iteration."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return {name for line in lines if _iteration_of(line) == iteration for name in json.loads(line)}


def _iteration_of(line: bytes) -> float:
    """The iteration of a line of metrics.json; infinity for a damaged one."""
    try:
        return float(json.loads(line)["iteration"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class ProgressWriter(EventWriter):
    """One line of the log: losses (of the last layer and the sum of all), learning rate, speed, memory, time left."""

    def __init__(self, max_iter: int, images_per_iteration: int) -> None:
        self._max_iter = max_iter
        self._images = images_per_iteration

    def write(self) -> None:
        storage = get_event_storage()
        if storage.iter >= self._max_iter or "total_loss" not in storage.histories():
            return
        losses = [name for name in storage.histories() if name.startswith("loss_") and not name[-1].isdigit()]
        parts = [f"iter: {storage.iter + 1}/{self._max_iter}"]
        parts += [f"{name}: {storage.history(name).median(WINDOW):.4g}" for name in ("total_loss", *losses)]
        parts += [
            f"lr: {storage.history('lr').latest():.3g}",
            *self._speed(storage),
            f"memory: {peak_memory():.0f} MB",
        ]
        logger.info("  ".join(parts))

    def _speed(self, storage: EventStorage) -> list[str]:
        """Seconds per iteration (and how many of them went into waiting for data), images per second, time left."""
        if "time" not in storage.histories():  # Detectron2's timer leaves the first iterations out
            return []
        seconds = storage.history("time").avg(WINDOW)
        left = storage.history("time").median(1000) * (self._max_iter - storage.iter - 1)
        return [
            f"time: {seconds:.4f} s",
            f"data_time: {storage.history('data_time').avg(WINDOW):.4f} s",
            f"images/s: {self._images / seconds:.2f}",
            f"eta: {datetime.timedelta(seconds=int(left))}",
        ]


class WandbWriter(EventWriter):
    """Sends all scalars to Weights & Biases."""

    def __init__(self, cfg: CfgNode) -> None:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("WANDB.ENABLED needs the package wandb: pip install wandb") from error
        output = Path(cfg.OUTPUT_DIR)
        self._run: Any = wandb.init(
            project=cfg.WANDB.PROJECT, name=cfg.WANDB.NAME or output.resolve().name, dir=str(output), config=dict(cfg)
        )
        self._last = -1

    def write(self) -> None:
        by_iteration: dict[int, dict[str, float]] = {}
        for name, (value, iteration) in get_event_storage().latest_with_smoothing_hint(WINDOW).items():
            if iteration > self._last:
                by_iteration.setdefault(iteration, {})[name] = value
        for iteration in sorted(by_iteration):
            self._run.log(by_iteration[iteration], step=iteration)
            self._last = iteration

    def close(self) -> None:
        self._run.finish()


def peak_memory() -> float:
    """Most memory so far, in MB: of the GPU where there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / MEGABYTE
    return peak_bytes() / MEGABYTE
