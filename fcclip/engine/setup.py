"""What comes before a training: the command line, the configuration, the log."""

from __future__ import annotations

import argparse
import os

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from fcclip.config import get_cfg, validate
from fcclip.data.datasets.custom import register_custom_datasets


def argument_parser() -> argparse.ArgumentParser:
    """The flags of Detectron2's training scripts, and --dry-run."""
    parser = argparse.ArgumentParser(
        description="Train or evaluate a model. Under torchrun, or in an srun of several tasks, the flags of processes "
        "and machines are not needed."
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="a YAML file of configs/")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of OUTPUT_DIR, if any")
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS on DATASETS.TEST")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check datasets and weights, train one step, segment one image of each test set, write nothing",
    )
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="processes of this machine (default: 1)")
    parser.add_argument("--num-machines", type=int, default=1, metavar="N", help="machines (default: 1)")
    parser.add_argument("--machine-rank", type=int, default=0, metavar="N", help="this machine, from 0 (default: 0)")
    parser.add_argument(
        "--dist-url",
        default=default_url(),
        metavar="URL",
        help="where the processes meet: tcp://HOST:PORT of the first machine (default: %(default)s)",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys and their values, at the end"
    )
    return parser


def default_url() -> str:
    """A port on this machine that stays the same for a user, so that a forgotten run shows as a port in use."""
    user = os.getuid() if hasattr(os, "getuid") else 1
    return f"tcp://127.0.0.1:{49152 + user % 16384}"


def load_config(args: argparse.Namespace) -> CfgNode:
    """The frozen configuration of a command line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a key is unknown, a value does not fit its key, or the device is not there.
    """
    cfg = get_cfg()
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    validate(cfg)
    if torch.device(cfg.MODEL.DEVICE).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "MODEL.DEVICE is cuda, but PyTorch finds no GPU; add MODEL.DEVICE cpu SOLVER.AMP.ENABLED False to compute "
            "on the CPU"
        )
    cfg.freeze()
    return cfg


def setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Make OUTPUT_DIR, write config.yaml and log.txt there, seed this process, register the config's own datasets."""
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="fcclip")
    register_custom_datasets(cfg)
