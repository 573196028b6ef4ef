"""`fcclip evaluate`: train_net.py --eval-only under a name of its own. See docs/evaluation.md."""

from __future__ import annotations

from collections.abc import Sequence

from fcclip.commands import train


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate MODEL.WEIGHTS on DATASETS.TEST; returns the exit code."""
    return train.main(["--eval-only", *(argv or ())], prog="fcclip evaluate")
