#!/usr/bin/env python3
"""Two evaluations side by side.

    python tools/compare_results.py output/a/inference/DATASET output/b/inference/DATASET
    python tools/compare_results.py before/results.json after/results.json --classes 20

Prints what the runs differ in (checkpoint, versions, configuration, vocabulary), all averages, and the classes that
gained or lost most.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.evaluation.report.comparison import CLASSES, compare_results, read_results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", metavar="FIRST", help="folder of an evaluation, or its results.json")
    parser.add_argument("second", metavar="SECOND", help="the one to compare with it")
    parser.add_argument(
        "--classes", type=int, default=CLASSES, help="classes that are listed at both ends (default: %(default)s)"
    )
    add_debug_flag(parser)
    options = parser.parse_args(arguments)

    def work() -> None:
        print(compare_results(read_results(options.first), read_results(options.second), options.classes))

    return run_command("compare_results", work, options.debug)


if __name__ == "__main__":
    sys.exit(main())
