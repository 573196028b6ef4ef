#!/usr/bin/env python3
"""Train a model, or evaluate one with --eval-only. See docs/training.md."""

from __future__ import annotations

# isort: off
import fcclip  # noqa: F401, registers models and datasets; first, as it silences a warning of Detectron2's imports

# isort: on
import argparse
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.engine.distributed import launch
from fcclip.engine.dry_run import dry_run
from fcclip.engine.setup import argument_parser, load_config, setup
from fcclip.engine.trainer import Trainer
from fcclip.evaluation import evaluate_test_sets
from fcclip.speed.acceleration import accelerate


def main(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
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
    model = Trainer.build_model(cfg)
    TrainingCheckpointer(model, cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    accelerate(model, cfg)
    results = evaluate_test_sets(cfg, model, with_tta=cfg.TEST.AUG.ENABLED)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


if __name__ == "__main__":
    parser = argument_parser()
    arguments = parser.parse_args()
    try:
        config = load_config(arguments)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    launch(
        main,
        (config, arguments),
        config.MODEL.DEVICE,
        arguments.num_gpus,
        arguments.num_machines,
        arguments.machine_rank,
        arguments.dist_url,
    )
