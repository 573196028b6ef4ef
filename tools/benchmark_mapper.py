"""Measure how many training images one data worker prepares in a second.

    python tools/benchmark_mapper.py
    python tools/benchmark_mapper.py --config-file CONFIG.yaml [KEY VALUE ...]

Without a config, large-scale jitter to 1024 x 1024 of made images of COCO's size and number of segments; with one, its
mapper on its DATASETS.TRAIN. One process, one thread, as in a data worker.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts
from PIL import Image

from fcclip.config import get_cfg, load_cfg
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.data.mappers import build_train_mapper
from fcclip.engine.errors import run_tool
from fcclip.engine.rng import seeded_rng
from fcclip.files.panoptic import write_panoptic_png

HEIGHT, WIDTH, SEGMENTS = 480, 640, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="FILE", help="its mapper and DATASETS.TRAIN; default: made images")
    parser.add_argument("--samples", type=int, default=100, metavar="N", help="samples that are timed (default: 100)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys and values")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        cfg = load(options.config_file, options.opts)
        records = get_detection_dataset_dicts(cfg.DATASETS.TRAIN) if options.config_file else make_records(Path(folder))
        seconds, masks = measure(build_train_mapper(cfg), records, options.samples)
    low, middle, high = quantiles(seconds, n=4)
    print(f"{cfg.INPUT.DATASET_MAPPER_NAME}: {len(seconds) / sum(seconds):.1f} images/s for one worker")
    print(f"{1000 * middle:.1f} ms per image (quartiles {1000 * low:.1f} to {1000 * high:.1f}), {masks:.1f} masks each")


def load(config_file: str | None, opts: list[str]) -> CfgNode:
    """The configuration; without a file, that of panoptic large-scale jitter."""
    if config_file:
        cfg = load_cfg(config_file, opts)
    else:
        cfg = get_cfg()
        cfg.INPUT.DATASET_MAPPER_NAME, cfg.INPUT.FORMAT = "coco_panoptic_lsj", "RGB"
        cfg.merge_from_list(opts)
    register_custom_datasets(cfg)
    return cfg


def measure(mapper: Callable[[Any], dict[str, Any]], records: list[Any], samples: int) -> tuple[list[float], float]:
    """Seconds of each sample, and the mean number of masks; equal draws on every run."""
    seconds, masks = [], 0
    for number in range(-3, samples):  # the first ones warm up
        with seeded_rng(number + 3):
            start = time.perf_counter()
            sample = mapper(records[number % len(records)])
            stop = time.perf_counter()
        if number >= 0:
            seconds.append(stop - start)
            masks += len(sample["instances"])
    return seconds, masks / samples


def make_records(folder: Path) -> list[dict[str, Any]]:
    """Two photograph-like JPEG images with panoptic PNGs of twelve regions."""
    records = []
    for number in range(2):
        rng = np.random.default_rng(number)
        seeds = rng.uniform((0, 0), (HEIGHT, WIDTH), (SEGMENTS, 2))
        rows, columns = np.indices((HEIGHT, WIDTH))
        regions = np.argmin([(rows - y) ** 2 + (columns - x) ** 2 for y, x in seeds], axis=0)
        noise = cv2.GaussianBlur(rng.normal(0, 60, (HEIGHT, WIDTH, 3)), (0, 0), 2)
        pixels = rng.integers(40, 216, (SEGMENTS, 3))[regions] + noise
        image, panoptic = folder / f"{number}.jpg", folder / f"{number}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(image, quality=90)
        ids = rng.choice(1 << 24, SEGMENTS, replace=False)
        write_panoptic_png(panoptic, ids[regions])
        segments = [{"id": int(i), "category_id": index, "iscrowd": 0} for index, i in enumerate(ids)]
        records.append({"file_name": str(image), "pan_seg_file_name": str(panoptic), "segments_info": segments})
    return records


if __name__ == "__main__":
    sys.exit(run_tool(main))
