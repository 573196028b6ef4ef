"""How the commands that segment begin: their flags are read, and PyTorch is imported only now."""

from __future__ import annotations

import argparse

from fcclip.engine.errors import run_command


def start_segmenting(options: argparse.Namespace, program: str) -> int:
    """Segment what the options name.

    Args:
        options: of `add_model_options` and `add_shared_options`, and one of `input`, `video_input` and `webcam`.
        program: begins every message of an error.

    Returns:
        The exit code: 0, or 1 if an image or frame had to be skipped, or 2 if nothing could be started; see also
        `run_command`.
    """

    def work() -> int:
        from fcclip.commands.segmenting import segment

        return segment(options, program)

    return run_command(program, work, options.debug)
