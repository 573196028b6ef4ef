"""What a name of weights may be besides a path; light, so that what fetches weights need not know what reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_schemes: dict[str, Callable[[str], Path]] = {}


def register_scheme(prefix: str, find: Callable[[str], Path]) -> None:
    """Let weights be named by a text that begins with `prefix`; `find` gives the file of such a text."""
    _schemes[prefix] = find


def is_name(weights: str) -> bool:
    """Whether a text begins with a registered prefix, so that it is no path."""
    return weights.startswith(tuple(_schemes))


def locate_weights(weights: str | Path) -> Path:
    """The file that MODEL.WEIGHTS names: a path as it is, or whatever a registered prefix stands for."""
    for prefix, find in _schemes.items():
        if str(weights).startswith(prefix):
            return find(str(weights))
    return Path(weights)
