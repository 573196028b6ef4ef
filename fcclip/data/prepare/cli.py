"""The command line that all preparation scripts share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from fcclip.data.datasets.registry import dataset_root
from fcclip.data.prepare.jobs import Options, Output
from fcclip.flags import add_workers_flag

Prepare = Callable[..., list[Output]]


def run(
    description: str | None,
    prepare: Prepare,
    configure: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: Sequence[str] | None = None,
) -> int:
    """Parse the command line, prepare, and print what was written.

    Args:
        description: text of --help; the script's docstring.
        prepare: called with `Options` and, as keywords, what `configure` added; returns what it made.
        configure: adds arguments of one script.
        argv: arguments; None for those of the process.

    Returns:
        The exit code: 0, or 1 after a problem with the input, which is told in one line.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of the datasets (default: $DETECTRON2_DATASETS, or datasets)")
    add_workers_flag(parser)
    if configure:
        configure(parser)
    arguments = vars(parser.parse_args(argv))
    root, workers = arguments.pop("root"), arguments.pop("workers")
    options = Options(root=(root or dataset_root()).expanduser(), workers=workers)
    try:
        outputs = prepare(options, **arguments)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(summary(outputs))
    return 0


def summary(outputs: Sequence[Output]) -> str:
    """A table of what was written and what was there already."""
    rows = [(output.path, output.written, output.kept) for output in outputs]
    return tabulate(rows, headers=("output", "written", "already there"), tablefmt="simple")
