"""A rehearsal: everything that a training needs is tried once, in minutes instead of days."""

from __future__ import annotations

import logging
import time
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.utils import comm
from detectron2.utils.events import EventStorage

from fcclip.data.mappers import InferenceMapper
from fcclip.data.validation.report import check_dataset
from fcclip.engine.distributed import unwrapped
from fcclip.engine.trainer import Trainer
from fcclip.engine.writers import peak_memory
from fcclip.evaluation.build import build_evaluator
from fcclip.evaluation.loop import evaluation_mode
from fcclip.files.scratch import scratch_folder

logger = logging.getLogger(__name__)


def dry_run(cfg: CfgNode, trainer_type: type[Trainer] = Trainer) -> None:
    """Judge the datasets and open every file of them, build all, train one step, segment one image of each test set.

    Nothing is written to OUTPUT_DIR but the log.

    Raises:
        FileNotFoundError, ValueError: a file of a dataset is missing or wrong.
        ValueError, RuntimeError: what the training itself would raise.
    """
    for name in dict.fromkeys((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)):
        report = check_dataset(name, workers=cfg.DATALOADER.NUM_WORKERS, whole=False)
        for line in report.table().splitlines():
            logger.info("%s", line)
        report.require_usable()
    with scratch_folder("dry") as folder:
        trainer = trainer_type(_writing_to(cfg, str(folder)))
        trainer.resume_or_load(resume=False)
        _train_one_step(trainer)
        for name in cfg.DATASETS.TEST:
            _segment_one_image(trainer, name)
    logger.info("dry run finished: nothing is wrong")


def _writing_to(cfg: CfgNode, folder: str) -> CfgNode:
    """The same configuration with another OUTPUT_DIR, and without a report to the outside."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = folder
    cfg.WANDB.ENABLED = False
    cfg.freeze()
    return cfg


def _train_one_step(trainer: Trainer) -> None:
    trainer.iter = trainer.start_iter
    start = time.perf_counter()
    with EventStorage(trainer.start_iter) as trainer.storage:
        trainer.run_step()
        loss = trainer.storage.latest()["total_loss"][0]
    logger.info(
        "one step of %d images: total loss %.4f, %.1f s with the start of the data workers, memory %.0f MB",
        trainer.cfg.SOLVER.IMS_PER_BATCH,
        loss,
        time.perf_counter() - start,
        peak_memory(),
    )


def _segment_one_image(trainer: Trainer, name: str) -> None:
    model: Any = unwrapped(trainer.model)
    model.set_metadata(MetadataCatalog.get(name))
    evaluator = build_evaluator(trainer.cfg, name)
    evaluator.reset()
    inputs = next(iter(build_detection_test_loader(trainer.cfg, name, mapper=InferenceMapper(trainer.cfg))), None)
    if inputs is not None:  # there may be more processes than images
        start = time.perf_counter()
        with evaluation_mode(model):
            evaluator.process(inputs, model(inputs))
        logger.info("%s: %s segmented in %.1f s", name, inputs[0]["file_name"], time.perf_counter() - start)
    comm.synchronize()
