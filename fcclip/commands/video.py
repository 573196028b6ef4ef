"""Segment a video, or a camera's pictures, by the names you give.

    fcclip video clip.mp4 --output results/ --vocabulary "cat,kitten; sofa; wall=stuff"
    fcclip video clip.mp4 --save-tracks tracks/ --json found.json --vocabulary "cat; dog; grass=stuff"
    fcclip video --webcam --vocabulary-file names.txt

Objects are followed: "cat 3" is the same cat in every frame, and names are those of several frames together. Without
--output a window shows the frames. An interrupted run, also one that was killed, leaves a video that can be played,
and --resume goes on with it. The exit code is 0, or 1 if a frame had to be skipped, or 2 if nothing could be started.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fcclip.commands.options import add_model_options, add_resume_flag, add_shared_options, add_video_options
from fcclip.commands.start import start_segmenting


def main(argv: Sequence[str] | None = None) -> int:
    """Segment a video; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="fcclip video", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("video_input", nargs="?", metavar="PATH", help="a video file, or a folder of frames")
    source.add_argument("--webcam", action="store_true", help="the first camera instead of a file")
    add_model_options(parser)
    add_video_options(parser)
    add_shared_options(parser)
    add_resume_flag(parser, "go on where an interrupted run of the same command stopped")
    parser.set_defaults(input=None)
    return start_segmenting(parser.parse_args(argv), "fcclip video")
