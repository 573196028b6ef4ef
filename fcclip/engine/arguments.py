"""The command line of a training; light, because --help has to answer at once."""

from __future__ import annotations

import argparse
import os

from fcclip.engine.errors import add_debug_flag
from fcclip.files.folders import find_config
from fcclip.flags import whole_number


def argument_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """The flags of Detectron2's training scripts, --dry-run and --debug; `prog` is the command that --help names."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Train or evaluate a model. Under torchrun, or in an srun of several tasks, the flags of processes "
        "and machines are not needed.",
    )
    parser.add_argument(
        "--config-file",
        required=True,
        type=lambda path: str(find_config(path)),
        metavar="FILE",
        help="a YAML file, or the path of one in configs/",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint of OUTPUT_DIR, if any")
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS on DATASETS.TEST")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check datasets and weights, train one step, segment one image of each test set, write nothing",
    )
    parser.add_argument(
        "--num-gpus", type=whole_number(1), default=1, metavar="N", help="processes of this machine (default: 1)"
    )
    parser.add_argument("--num-machines", type=whole_number(1), default=1, metavar="N", help="machines (default: 1)")
    parser.add_argument(
        "--machine-rank", type=whole_number(0), default=0, metavar="N", help="this machine, from 0 (default: 0)"
    )
    parser.add_argument(
        "--dist-url",
        default=default_url(),
        metavar="URL",
        help="where the processes meet: tcp://HOST:PORT of the first machine (default: %(default)s)",
    )
    add_debug_flag(parser)
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys and their values, at the end"
    )
    return parser


def default_url() -> str:
    """A port on this machine that stays the same for a user, so that a forgotten run shows as a port in use."""
    user = os.getuid() if hasattr(os, "getuid") else 1
    return f"tcp://127.0.0.1:{49152 + user % 16384}"
