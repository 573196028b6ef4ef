#!/usr/bin/env python3
"""What a ZegCLIP or Cascade-CLIP costs: parameters, multiply-accumulates, and images per second.

    python tools/analyze_model.py --config-file configs/zero_shot/zegclip/voc12_inductive.yaml
    python tools/analyze_model.py --config-file ... --fps                          # on DATASETS.TEST
    python tools/analyze_model.py --config-file ... --fps --made-images 375 500    # without a dataset

The weights do not matter and are random. Multiply-accumulates are those of one 512 x 512 crop with the classes of
DATASETS.TEST, without the text tower, as published: 110.4 G for ZegCLIP on VOC, 123.9 G on COCO-Stuff.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog, build_detection_test_loader
from detectron2.modeling import build_model
from torch import nn

from fcclip.config import load_inference_cfg
from fcclip.data.mappers import InferenceMapper
from fcclip.data.resizing import ResizeShorterSide
from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.engine.parameters import count_parameters
from fcclip.speed.analysis import count_macs, measure_fps


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)

    def work() -> None:
        cfg = load_inference_cfg(options.config_file, options.opts, random_weights=True)
        model = build_model(cfg).eval()
        report(cfg, model, options)

    return run_command("analyze_model", work, options.debug)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", type=Path, required=True, metavar="FILE", help="YAML of the model")
    parser.add_argument("--size", type=int, default=512, help="side of the crop in pixels (default %(default)s)")
    parser.add_argument("--fps", action="store_true", help="measure the speed too")
    parser.add_argument(
        "--made-images", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="measure it on blank images of this size"
    )
    parser.add_argument("--warmup", type=int, default=100, help="images before the clock starts (default %(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="images in all (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=1, help="times that it is measured (default %(default)s)")
    add_debug_flag(parser)
    parser.add_argument("--opts", nargs="*", default=[], metavar="KEY VALUE", help="configuration keys and values")
    return parser.parse_args(arguments)


def report(cfg: CfgNode, model: nn.Module, options: argparse.Namespace) -> None:
    """Print everything that was asked for."""
    for name, count in count_parameters(model).items():
        print(f"parameters, {name:<20} {count:>12,}")
    name = (cfg.DATASETS.TEST or cfg.DATASETS.TRAIN)[0]
    classes = len(MetadataCatalog.get(name).stuff_classes)
    for part, macs in count_macs(model, options.size, classes).items():
        print(f"GMACs, {part:<25} {macs / 1e9:>12.2f}   ({classes} classes, {options.size} x {options.size})")
    if options.fps:
        print(describe_speed(cfg, model, name, options))


def describe_speed(cfg: CfgNode, model: nn.Module, dataset: str, options: argparse.Namespace) -> str:
    """Images per second: the median of the repetitions and their range."""
    target: Any = model
    target.set_metadata(MetadataCatalog.get(dataset))
    with target.labels_only():
        speeds = [
            measure_fps(model, batches(cfg, dataset, options.made_images), options.warmup, options.images)
            for _ in range(options.repeats)
        ]
    device = torch.cuda.get_device_name() if cfg.MODEL.DEVICE.startswith("cuda") else "CPU"
    median = statistics.median(speeds)
    return f"images/s                         {median:>12.2f}   ({min(speeds):.2f} to {max(speeds):.2f}; {device})"


def batches(cfg: CfgNode, dataset: str, made: list[int] | None) -> Iterable[list[dict[str, Any]]]:
    """Batches of one image: of the dataset, or blank ones without end."""
    if made is None:
        return build_detection_test_loader(cfg, dataset, mapper=InferenceMapper(cfg))
    height, width = made
    blank = torch.zeros(height, width, 3, dtype=torch.uint8).numpy()
    resize = ResizeShorterSide(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, cfg.INPUT.RESIZING_TEST)
    image = torch.from_numpy(resize.get_transform(blank).apply_image(blank)).permute(2, 0, 1)
    return repeat([{"image": image, "height": height, "width": width}])


if __name__ == "__main__":
    sys.exit(main())
