"""Convert a checkpoint of ZegCLIP or Cascade-CLIP: published (mmsegmentation's .pth) to this package's layout, or back.

    fcclip convert zegclip_voc.pth zegclip_voc_converted.pth
    fcclip convert output/model_final.pth published.pth --clip openai

The direction is seen from the file. What is written for this package can be given as MODEL.WEIGHTS. Files are read as
plain data: nothing in them is run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fcclip.engine.errors import add_debug_flag, run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="fcclip convert", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, metavar="INPUT", help="the checkpoint")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="the file to write")
    parser.add_argument(
        "--clip",
        default="",
        metavar="WEIGHTS",
        help="CLIP of a checkpoint of this package that was saved without it: openai, or a file",
    )
    add_debug_flag(parser)
    options = parser.parse_args(arguments)
    return run_command("fcclip convert", lambda: _convert(options), options.debug)


def _convert(options: argparse.Namespace) -> None:
    from fcclip.mmseg.checkpoint import convert_checkpoint  # which takes PyTorch's time

    print(convert_checkpoint(options.input, options.output, options.clip))
