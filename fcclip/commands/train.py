"""`fcclip train`, which is train_net.py: train a model, or evaluate one. See docs/training.md."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from fcclip.engine.checkpoint import TrainingCheckpointer
from fcclip.engine.distributed import launch
from fcclip.engine.dry_run import dry_run
from fcclip.engine.evaluation import evaluate_test_sets
from fcclip.engine.setup import argument_parser, load_config, setup
from fcclip.engine.trainer import Trainer
from fcclip.speed.acceleration import accelerate


def main(argv: Sequence[str] | None = None, prog: str = "fcclip train") -> int:
    """Train, or with --eval-only evaluate; returns the exit code."""
    parser = argument_parser(prog)
    args = parser.parse_args(argv)
    try:
        cfg = load_config(args)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    launch(run, (cfg, args), cfg.MODEL.DEVICE, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url)
    return 0


def run(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Any]:
    """What every process of a training does; the results of the last evaluation."""
    setup(cfg, args)
    if args.eval_only:
        return evaluate(cfg, args.resume)
    if args.dry_run:
        dry_run(cfg)
        return {}
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


def evaluate(cfg: CfgNode, resume: bool) -> dict[str, Any]:
    """Evaluate MODEL.WEIGHTS, or with --resume the last checkpoint of OUTPUT_DIR."""
    model = Trainer.build_model(cfg)
    TrainingCheckpointer(model, cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    accelerate(model, cfg)
    results = evaluate_test_sets(cfg, model, with_tta=cfg.TEST.AUG.ENABLED)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results
