"""What `fcclip train`, `fcclip evaluate` and train_net.py do once their flags are read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from fcclip.data.validation.agreement import validate_datasets
from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.engine.distributed import launch
from fcclip.engine.dry_run import dry_run
from fcclip.engine.errors import sentence_of
from fcclip.engine.setup import check_places, load_config, setup
from fcclip.engine.trainer import Trainer
from fcclip.evaluation import evaluate_test_sets
from fcclip.evaluation.origin import Origin
from fcclip.files.checkpoints import read_entry
from fcclip.speed.acceleration import accelerate


def start(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Read the configuration, see that the weights are there, and start the processes; `parser` tells what is wrong."""
    try:
        cfg = load_config(args)
    except (OSError, ValueError) as error:
        parser.error(sentence_of(error))
    check_places(cfg, args)
    launch(run, (cfg, args), cfg.MODEL.DEVICE, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url)


def run(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    """What every process of a training does; the results of the last evaluation."""
    setup(cfg, args)
    if args.eval_only:
        return evaluate_only(cfg, args.resume)
    if args.dry_run:
        dry_run(cfg)
        return {}
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def evaluate_only(cfg: CfgNode, resume: bool) -> dict[str, Any]:
    """Evaluate MODEL.WEIGHTS, or with --resume the last checkpoint of OUTPUT_DIR."""
    validate_datasets(cfg, training=False)
    model = Trainer.build_model(cfg)
    checkpointer = TrainingCheckpointer(model, cfg.OUTPUT_DIR)
    resumed = resume and checkpointer.has_checkpoint()
    weights = checkpointer.get_checkpoint_file() if resumed else cfg.MODEL.WEIGHTS
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    accelerate(model, cfg)
    results = evaluate_test_sets(cfg, model, with_tta=cfg.TEST.AUG.ENABLED, origin=origin_of(weights))
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def origin_of(weights: str) -> Origin:
    """Where the weights of a file came from, with the iteration if it is a checkpoint of a training."""
    if not weights or not Path(weights).is_file():
        return Origin()
    trained = read_entry(weights, "iteration")
    best = read_entry(weights, "best")
    iteration = trained + 1 if isinstance(trained, int) else (best or {}).get("iteration")
    return Origin.of_file(weights, iteration)
