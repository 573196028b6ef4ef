"""The training loop."""

from __future__ import annotations

import errno
import itertools
import logging
import math
import time
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, hooks
from detectron2.engine.train_loop import HookBase, TrainerBase
from detectron2.evaluation import verify_results
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage, EventWriter
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fcclip.data.validation.agreement import validate_datasets
from fcclip.engine.best import BestCheckpoint
from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.engine.distributed import distribute, unwrapped
from fcclip.engine.evaluating import PeriodicEvaluation
from fcclip.engine.loader import Sample, TrainLoader, build_train_loader
from fcclip.engine.optimizer import build_optimizer, clip_gradients, load_optimizer_state, trainable
from fcclip.engine.parameters import describe_parameters
from fcclip.engine.precision import Precision
from fcclip.engine.rng import capture_rng, preserved_rng, restore_rng
from fcclip.engine.schedule import build_lr_scheduler
from fcclip.engine.setup import mask_generator_file
from fcclip.engine.stopping import StopRequest
from fcclip.engine.writers import METRICS, build_writers, trim_metrics
from fcclip.evaluation import evaluate_test_sets
from fcclip.evaluation.build import build_evaluators
from fcclip.evaluation.origin import Origin
from fcclip.evaluation.report.pictures import Show
from fcclip.speed.acceleration import accelerate_training
from fcclip.weights import load_mask_generator

logger = logging.getLogger(__name__)

FINAL = "model_final.pth"  # how fvcore calls the last checkpoint


class Trainer(TrainerBase):
    """Trains a model as a configuration says; the methods are called like those of Detectron2's DefaultTrainer.

    After `resume_or_load(resume=True)` the run goes on as if it had never stopped: weights, optimiser, schedule, loss
    scale, random numbers and the order of the data are those of the last checkpoint.
    """

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        validate_datasets(cfg)
        for name in cfg.DATASETS.TEST:
            build_evaluators(cfg, name)  # what it cannot evaluate should not be noticed after the training
        cfg = DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size())
        self.cfg = cfg
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.precision = Precision(cfg)
        model = self.build_model(cfg)
        self.optimizer = self.build_optimizer(cfg, model)
        self.scheduler = self.build_lr_scheduler(cfg, self.optimizer)
        self.data_loader = self.build_train_loader(cfg)
        self.model = distribute(model).train()
        self.checkpointer = TrainingCheckpointer(model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self))
        self.best = BestCheckpoint(cfg, self.checkpointer) if cfg.SOLVER.BEST_CHECKPOINT.METRIC else None
        self.last_results: dict[str, Any] = {}
        self._batches: Iterator[list[Sample]] | None = None
        self.iter = 0
        self._stop = StopRequest()
        self._all_stop = False  # whether a process was told to stop; all know it after the same iteration
        self.register_hooks(self.build_hooks())

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        model: nn.Module = build_model(cfg)
        logger.info("%s: %s", cfg.MODEL.META_ARCHITECTURE, describe_parameters(model))
        return model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: torch.optim.Optimizer) -> Any:
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> TrainLoader:
        return build_train_loader(cfg)

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, origin: Origin | None = None, show: Show | None = None
    ) -> dict[str, Any]:
        """See `fcclip.evaluation.evaluate_test_sets`."""
        return evaluate_test_sets(cfg, model, origin=origin, show=show)

    def build_hooks(self) -> list[HookBase]:
        """Checkpoints come before the evaluation, so that one which fails costs no training."""
        found = [
            hooks.IterationTimer(),
            hooks.LRScheduler(),
            hooks.PeriodicCheckpointer(self.checkpointer, self.cfg.SOLVER.CHECKPOINT_PERIOD),
        ]
        if self.cfg.DATASETS.TEST:
            found.append(PeriodicEvaluation(self.cfg, self._test_and_keep_best))
        if comm.is_main_process():
            found.append(hooks.PeriodicWriter(self.build_writers(), period=self.cfg.SOLVER.LOG_PERIOD))
        return found

    def build_writers(self) -> list[EventWriter]:
        return build_writers(self.cfg, self.max_iter)

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the last checkpoint of OUTPUT_DIR, if asked for and there is one; else load MODEL.WEIGHTS.

        Raises:
            RuntimeError: some machines see the checkpoint and others do not.
        """
        self.checkpointer.remove_leftovers()
        if resume:
            seen = comm.all_gather(self.checkpointer.has_checkpoint())
            if len(set(seen)) > 1:
                raise RuntimeError(f"OUTPUT_DIR {self.cfg.OUTPUT_DIR} must be on a disk that all machines share")
            resume = seen[0]
        if not resume and (generator := mask_generator_file(self.cfg)):
            load_mask_generator(unwrapped(self.model), generator)
        else:
            self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        accelerate_training(unwrapped(self.model), self.cfg)
        if resume:
            self.start_iter = self.iter + 1
            if self.best is not None:
                self.best.resume()
        if comm.is_main_process():
            trim_metrics(Path(self.cfg.OUTPUT_DIR) / METRICS, self.start_iter)

    def train(self) -> dict[str, Any]:
        """Train until MAX_ITER; the last evaluation's results, on the main process.

        SIGTERM and Ctrl-C end it after the iteration that they came in, which is saved.

        Raises:
            RuntimeError: the disk of OUTPUT_DIR is full.
            FloatingPointError: a loss or the gradient is NaN or infinite.
            KeyboardInterrupt: it was told to stop.
        """
        try:
            with self._stop.listening():
                self._train_all_iterations()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise RuntimeError(
                f"the disk of {self.cfg.OUTPUT_DIR} is full at iteration {self.iter}; make room and go on with --resume"
            ) from error
        if self.cfg.TEST.EXPECTED_RESULTS and comm.is_main_process():
            verify_results(self.cfg, self.last_results)
        return self.last_results

    def _train_all_iterations(self) -> None:
        """The loop of Detectron2's TrainerBase, without its traceback on the screen."""
        logger.info("Starting training from iteration %d", self.start_iter)
        self.iter = self.start_iter
        with EventStorage(self.start_iter) as self.storage:
            try:
                self.before_train()
                for iteration in range(self.start_iter, self.max_iter):
                    self.iter = iteration
                    self.before_step()
                    self.run_step()
                    self.after_step()
                    if self._all_stop and self.iter + 1 < self.max_iter:
                        self._save_and_stop()
                # Tells the hooks that the training is complete, also if it was before.
                self.iter = max(self.start_iter, self.max_iter)
                if self.start_iter >= self.max_iter:
                    self._save_final_if_missing()
            finally:
                self.after_train()

    def _save_final_if_missing(self) -> None:
        """A run that ended between its last two checkpoints has all iterations, but not the file that is named so."""
        last = self.checkpointer.get_checkpoint_file() if self.checkpointer.has_checkpoint() else FINAL
        if comm.all_gather(Path(last).name)[0] != FINAL:
            self.checkpointer.save(Path(FINAL).stem, iteration=self.iter - 1)

    def _save_and_stop(self) -> None:
        name = f"model_{self.iter:07d}"
        self.checkpointer.save(name, iteration=self.iter)
        error = self._stop.error or KeyboardInterrupt  # another process may have been told
        raise error(f"iteration {self.iter} is saved in {self.cfg.OUTPUT_DIR}/{name}.pth; go on with --resume")

    def run_step(self) -> None:
        """One optimiser step.

        Raises:
            FloatingPointError: a loss or the gradient is NaN or infinite; names the iteration and the images.
        """
        if self._batches is None:
            self._batches = iter(self.data_loader)
        steps = self.cfg.SOLVER.ACCUMULATION_STEPS
        self.optimizer.zero_grad()
        data_time = 0.0
        collected: list[dict[str, Tensor]] = []
        files: list[list[str]] = []
        for step in range(steps):
            start = time.perf_counter()
            batch = next(self._batches)
            data_time += time.perf_counter() - start
            with self._gradients_stay_here() if step < steps - 1 else nullcontext():
                collected.append(self._backward(batch, steps))
            files.append([str(sample.get("file_name")) for sample in batch])
        self._update(collected, files, data_time)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the weights that the next step depends on. All processes must call it together."""
        own = {"rng": capture_rng(), "loader": self.data_loader.state_dict()}
        return {
            **super().state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "grad_scaler": self.precision.scaler.state_dict(),
            "processes": comm.gather(own),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        load_optimizer_state(self.optimizer, state["optimizer"])
        if state["grad_scaler"]:
            self.precision.scaler.load_state_dict(state["grad_scaler"])
        self._load_own_state(state["processes"])

    def _load_own_state(self, processes: list[dict[str, Any]]) -> None:
        """Take this process's part of the states of all."""
        if len(processes) == comm.get_world_size():
            own = processes[comm.get_rank()]
            restore_rng(own["rng"])
            self.data_loader.load_state_dict(own["loader"])
            return
        logger.warning(
            "the checkpoint was written by %d processes and these are %d: random numbers and the order of the data "
            "will differ from an undisturbed run's",
            len(processes),
            comm.get_world_size(),
        )
        taken = sum(process["loader"]["taken"] for process in processes)
        self.data_loader.skip_to(processes[0]["loader"]["seed"], taken // comm.get_world_size())

    def _gradients_stay_here(self) -> AbstractContextManager[Any]:
        """Context of the passes before the last of a step: only that one averages gradients over the processes."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def _backward(self, batch: list[Sample], steps: int) -> dict[str, Tensor]:
        """Forward and backward pass of one of `steps` parts of a step; the losses, detached."""
        try:
            with self.precision.autocast():
                losses = self.model(batch)
        except FloatingPointError as error:
            names = ", ".join(str(sample.get("file_name")) for sample in batch)
            raise FloatingPointError(f"iteration {self.iter}, images {names}: {error}") from error
        total = torch.stack(list(losses.values())).sum() / steps
        self.precision.scaler.scale(total).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _update(self, collected: list[dict[str, Tensor]], files: list[list[str]], data_time: float) -> None:
        """Step the optimiser and record the numbers."""
        scaler = self.precision.scaler
        scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.cfg, trainable(self.optimizer))
        scaler.step(self.optimizer)
        scaler.update()

        losses = self._mean_losses(collected, files)
        if norm is not None:
            self._record_gradient(norm.item(), files)
        self.storage.put_scalar("data_time", data_time)
        self.storage.put_scalar("total_loss", sum(losses.values()))
        self.storage.put_scalars(**losses)
        if scaler.is_enabled():
            self.storage.put_scalar("loss_scale", scaler.get_scale(), smoothing_hint=False)

    def _record_gradient(self, norm: float, files: list[list[str]]) -> None:
        # The scaler of float16 leaves out steps whose gradient overflowed.
        if not math.isfinite(norm) and not self.precision.scaler.is_enabled():
            names = ", ".join(itertools.chain.from_iterable(files))
            raise FloatingPointError(
                f"iteration {self.iter}, images {names}: the gradient became NaN or infinite; {self._advice()}"
            )
        self.storage.put_scalar("gradient_norm", norm)

    def _mean_losses(self, collected: list[dict[str, Tensor]], files: list[list[str]]) -> dict[str, float]:
        """Mean of each loss over the parts of the step and over the processes, in one copy from the device."""
        names = list(collected[0])
        parts = torch.stack([torch.stack([losses[name].float() for name in names]) for losses in collected])
        mean = torch.cat((parts.mean(0), parts.new_tensor([self._stop.error is not None])))
        if comm.get_world_size() > 1:
            dist.all_reduce(mean)
            mean /= comm.get_world_size()
        *averages, stop = mean.tolist()
        self._all_stop = stop > 0
        values = dict(zip(names, averages, strict=True))
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            # Of the parts of the step, those of this process are known.
            guilty = [names for part, names in zip(parts, files, strict=True) if not torch.isfinite(part).all()]
            images = ", ".join(itertools.chain.from_iterable(guilty)) or "of another process"
            raise FloatingPointError(
                f"iteration {self.iter}, images {images}: {', '.join(bad)} became NaN or infinite; {self._advice()}"
            )
        return values

    def _advice(self) -> str:
        amp = self.cfg.SOLVER.AMP
        half = ", or train with SOLVER.AMP.DTYPE bfloat16 or without AMP" if amp.ENABLED else ""
        return f"lower SOLVER.BASE_LR{half}, and go on from the last checkpoint with --resume"

    def _test_and_keep_best(self) -> dict[str, Any]:
        """Evaluate, without an influence on the random numbers of the training."""
        done = min(self.iter + 1, self.max_iter)
        with preserved_rng(), self._stop.at_once():
            self.last_results = self.test(
                self.cfg, unwrapped(self.model), origin=Origin(iteration=done), show=self._show
            )
        if self.best is not None and comm.is_main_process():
            self.best.update(self.last_results, done)
        return self.last_results

    def _show(self, name: str, picture: np.ndarray) -> None:
        """Hand a picture (H, W, 3) to TensorBoard."""
        self.storage.put_image(name, picture.transpose(2, 0, 1))
