"""Export a model to ONNX files that run without PyTorch, for any names.

    fcclip export --model panoshapes --output exported
    fcclip export --config-file FILE --output exported --opts MODEL.WEIGHTS fcclip.pth
    python -c 'from fcclip.export import Runtime; print(Runtime("exported").predict("photo.jpg").table())'

The graphs know no class name: `fcclip.export.Runtime` is asked for any (docs/deployment.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fcclip.commands.options import add_model_options, add_names_options, add_opts
from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.export.manifest import DEFORMABLE, OPSETS
from fcclip.export.quantize import MODES
from fcclip.files.images import find_images

MOST_IMAGES = 64  # that are looked at for calibration
SETTINGS = ("MODEL.FC_CLIP.RELEASE_TEXT_TOWER", "False")  # as it is written too


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; returns the exit code."""
    options = parse(arguments)
    return run_command("fcclip export", lambda: export(options), options.debug)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="fcclip export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_model_options(parser, default=None)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="a folder that is not there yet")
    add_names_options(
        parser, "classes that the runtime looks for unless told otherwise (default: those of the model's dataset)"
    )
    parser.add_argument("--opset", type=int, default=OPSETS[0], choices=OPSETS, help="of ONNX (default: %(default)s)")
    parser.add_argument(
        "--deformable",
        default=DEFORMABLE[0],
        choices=DEFORMABLE,
        help="how deformable attention samples: gather is for engines without a good GridSample, such as TensorRT",
    )
    parser.add_argument(
        "--int8",
        default="",
        choices=MODES,
        help="let the image tower multiply in 8 bits, at a loss (docs/deployment.md)",
    )
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="pictures that --int8 calibrated looks at")
    parser.add_argument("--random-weights", action="store_true", help="export without trained weights, to try it out")
    add_debug_flag(parser)
    add_opts(parser)
    return parser.parse_args(arguments)


def export(options: argparse.Namespace) -> None:
    """Do it, and say what was written."""
    from fcclip.commands.choices import load_chosen, read_vocabulary  # which take PyTorch's time
    from fcclip.export.write import ExportOptions, export_model

    if options.model is None and options.config_file is None:
        raise ValueError("name what to export: --model NAME or --config-file FILE")
    vocabulary = next(iter(read_vocabulary(options)), None)
    cfg = load_chosen(options, SETTINGS, device="cpu", fast=False)
    name = options.model or options.config_file.name
    images, problems = find_images([options.images] if options.images else [])
    if problems:
        raise ValueError("; ".join(problems))
    choices = ExportOptions(options.opset, options.deformable, options.int8, images[:MOST_IMAGES], vocabulary, name)
    folder = export_model(cfg, options.output, choices)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"wrote {folder} ({size / 1e6:.0f} MB)")
