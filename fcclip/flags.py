"""What command lines have in common: numbers within limits, as types for `argparse`, and the number of processes."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from fcclip.files.cores import usable_cores


def add_workers_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`; by default one process for each core that this process may use."""
    parser.add_argument(
        "--workers", type=whole_number(0), default=usable_cores(), help="processes (default: %(default)s)"
    )


def whole_number(least: int) -> Callable[[str], int]:
    """The type of a whole number of at least `least`.

    Examples:
        >>> whole_number(1)("8")
        8
        >>> whole_number(1)("0")
        Traceback (most recent call last):
        argparse.ArgumentTypeError: "0" is not a whole number of at least 1
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f'"{text}" is not a whole number of at least {least}')
        return value

    return read


def positive_number(text: str) -> float:
    """The type of a number above 0 that is not infinite."""
    return _number(text, lambda value: 0 < value < math.inf, "above 0")


def non_negative_number(text: str) -> float:
    """The type of a number of at least 0 that is not infinite."""
    return _number(text, lambda value: 0 <= value < math.inf, "of at least 0")


def probability(text: str) -> float:
    """The type of a number from 0 to 1."""
    return _number(text, lambda value: 0 <= value <= 1, "from 0 to 1")


def _number(text: str, fits: Callable[[float], bool], limits: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan  # which is within no limits
    if not fits(value):
        raise argparse.ArgumentTypeError(f'"{text}" is not a number {limits}')
    return value
