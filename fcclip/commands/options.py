"""The flags that all commands which segment have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from fcclip.data.builtin_vocabularies import BUILTIN_VOCABULARIES
from fcclip.engine.errors import add_debug_flag
from fcclip.flags import probability, whole_number
from fcclip.formats.names import FORMATS

DEFAULT_CONFIG = "coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k.yaml"  # below configs/
DEFAULT_MODEL = "fcclip_convnext_large"


def add_model_options(parser: argparse.ArgumentParser, default: str | None = DEFAULT_MODEL) -> None:
    """Add --model and --config-file, one of which may be given; without a `default` model, none is trained."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--config-file", type=Path, metavar="FILE", help="YAML of the model")
    text = 'a trained model: "panoshapes", "fcclip_convnext_large", ... or a checkpoint'
    group.add_argument("--model", metavar="NAME", help=f"{text} (default: {default})" if default else text)
    parser.set_defaults(default_model=default)


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Add what to look for, where the results go, and how to compute."""
    parser.add_argument("--output", type=Path, metavar="PATH", help="file or folder to write; without it, a window")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found to a JSON file")
    parser.add_argument(
        "--format",
        nargs="+",
        default=[],
        choices=tuple(FORMATS),
        metavar="NAME",
        help=f"write the results for other programs too, into --output/NAME: {', '.join(FORMATS)}",
    )
    add_vocabulary_options(parser)
    add_computing_options(parser)


def add_names_options(parser: argparse.ArgumentParser, help: str) -> None:
    """Add the user's classes."""
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--vocabulary", metavar="NAMES", help=help)
    names.add_argument("--vocabulary-file", type=Path, metavar="FILE", help="a file with one such class per line")


def add_vocabulary_options(parser: argparse.ArgumentParser) -> None:
    """Add what to look for."""
    add_names_options(parser, 'classes to look for: "cat,kitten; sofa; wall=stuff"')
    parser.add_argument(
        "--add-vocabulary",
        nargs="+",
        choices=BUILTIN_VOCABULARIES,
        metavar="LIST",
        help=f"look for the classes of {', '.join(BUILTIN_VOCABULARIES)} (any of them) as well",
    )
    parser.add_argument(
        "--published-vocabulary",
        action="store_true",
        help="take those lists as they were published with FC-CLIP; fetched at the first use",
    )


def add_computing_options(parser: argparse.ArgumentParser) -> None:
    """Add how to compute."""
    parser.add_argument(
        "--confidence-threshold", type=probability, default=0.0, metavar="P", help="drop what scores less (0..1)"
    )
    parser.add_argument(
        "--batch-size",
        type=whole_number(1),
        default=1,
        metavar="N",
        help="images of one size, or frames, that are segmented together; more than 1 may be faster on a GPU",
    )
    parser.add_argument("--device", help='"cpu", "cuda", "mps"; by default the GPU where there is one')
    parser.add_argument("--random-weights", action="store_true", help="run without trained weights, to try things out")
    parser.add_argument(
        "--fast", action="store_true", help="compute in bfloat16 or int8, as the device is fast, at a small loss"
    )
    add_debug_flag(parser)
    add_opts(parser)


def add_opts(parser: argparse.ArgumentParser) -> None:
    """Add --opts."""
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="configuration to override; comes last",
    )


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen of folders of images only."""
    group = parser.add_argument_group("folders")
    group.add_argument("--subfolders", action="store_true", help="also images in folders of folders; results keep them")
    add_resume_flag(group, "leave out images whose picture is in --output already, or go on with a video")


def add_resume_flag(parser: argparse._ActionsContainer, help: str) -> None:
    """Add --resume."""
    parser.add_argument("--resume", action="store_true", help=help)


def add_video_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen of videos only."""
    group = parser.add_argument_group("videos")
    group.add_argument("--no-tracks", action="store_true", help="segment every frame on its own, without identities")
    group.add_argument(
        "--look-ahead",
        type=whole_number(0),
        metavar="N",
        help="frames ahead that help to name what is in a frame (default: 5; of a camera 0)",
    )
    group.add_argument(
        "--whole",
        action="store_true",
        help="look at the whole video first, which gives better names; the network sees every frame twice",
    )
    group.add_argument("--every", type=whole_number(1), default=1, metavar="N", help="segment every N-th frame only")
    group.add_argument("--save-tracks", type=Path, metavar="FOLDER", help="write the tracks in VIPSeg's layout")
