"""`fcclip train`, which is train_net.py: train a model, or evaluate one. See docs/training.md."""

from __future__ import annotations

from collections.abc import Sequence

from fcclip.engine.arguments import argument_parser
from fcclip.engine.errors import run_command


def main(argv: Sequence[str] | None = None, prog: str = "fcclip train") -> int:
    """Train, or with --eval-only evaluate; returns the exit code."""
    parser = argument_parser(prog)
    args = parser.parse_args(argv)

    def work() -> None:
        from fcclip.commands.training import start  # which takes PyTorch's time

        start(parser, args)

    return run_command(prog, work, args.debug)
