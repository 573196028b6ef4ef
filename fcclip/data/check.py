"""Verify a prepared dataset: python -m fcclip.data.check NAME [--full] [--json FILE]

Judges the annotations as training and evaluation do, and looks whether every file is there, images and labels are of
equal size, ids are known, and the number of images is that of the whole dataset. With --full it also decodes every
file: labels must be classes, and the pixels of panoptic PNGs must be those of their segments. Prints how many objects
of each class are listed and loaded, what was mended or left out, and the problems; the exit code is 1 if there are any
problems.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fcclip.files.atomic import write_json
from fcclip.files.places import reason_of
from fcclip.flags import add_workers_flag


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not arguments.names and not arguments.list:
        parser.error("give the NAME of a dataset, or --list")
    from fcclip.data.datasets import REGISTERED  # which takes PyTorch's time
    from fcclip.data.validation.report import check_dataset

    try:
        if arguments.config_file:
            _register_custom(arguments.config_file)
        if arguments.list:
            print("\n".join(sorted(name for name, spec in REGISTERED.items() if spec.layout)))
            return 0
        reports = [check_dataset(name, arguments.full, arguments.workers) for name in arguments.names]
    except (OSError, ValueError) as error:
        print(f"error: {reason_of(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    print("\n\n".join(report.table() for report in reports))
    if arguments.json:
        write_json(arguments.json, [asdict(report) for report in reports], indent=1)
    return int(any(report.problems for report in reports))


def _register_custom(config_file: str) -> None:
    from fcclip.config import load_cfg
    from fcclip.data.datasets.custom import register_custom_datasets

    register_custom_datasets(load_cfg(config_file))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fcclip.data.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="name of a dataset, e.g. openvocab_ade20k_panoptic_val"
    )
    parser.add_argument("--full", action="store_true", help="decode every file and look at its pixels")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found to FILE")
    parser.add_argument("--config-file", metavar="FILE", help="register the DATASETS.CUSTOM of a configuration first")
    add_workers_flag(parser)
    parser.add_argument("--list", action="store_true", help="list the names and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
