"""Measure the memory that evaluation adds for one large image with many classes, each case in a process of its own.

    python tools/benchmark_evaluation_memory.py --height 2048 --width 4096 --classes 150 847 1203

Printed is by how much the process's resident memory grows at its peak while the image is measured and added up; the
prediction itself, which the model makes, is there before and listed apart. Runs on Linux, whose /proc tells the peak.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances
from PIL import Image
from tabulate import tabulate

from fcclip.engine.errors import run_tool
from fcclip.evaluation import SemanticEvaluator
from fcclip.evaluation.detections import encode_instances
from fcclip.evaluation.metrics.panoptic_quality import count_image
from fcclip.files.process_memory import peak_bytes

SEGMENTS = 100
MIB = 2**20
# What a case returns: the bytes of the prediction, and the work to be measured.
Case = tuple[int, Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=2048)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--classes", type=int, nargs="+", default=[150, 847, 1203])
    options = parser.parse_args()
    size = (options.height, options.width)
    rows = []
    for make in (semantic_case, panoptic_case, instance_case):
        for classes in options.classes if make is semantic_case else options.classes[:1]:
            rows.append([make.__name__.removesuffix("_case"), classes, *in_new_process(make, size, classes)])
    headers = ["evaluator", "classes", "prediction MiB", "growth of peak MiB", "seconds"]
    print(tabulate(rows, headers=headers, floatfmt=".1f"))


def in_new_process(make: Callable[..., Case], size: tuple[int, int], classes: int) -> list[float]:
    """Peak memory of a process only ever grows, so that each case needs a fresh one."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(measure, (make, size, classes))


def measure(make: Callable[..., Case], size: tuple[int, int], classes: int) -> list[float]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        prediction, work = make(Path(folder), size, classes)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is resident now
        before = peak_bytes()
        start = time.perf_counter()
        work()
        return [prediction / MIB, (peak_bytes() - before) / MIB, time.perf_counter() - start]


def blobs(size: tuple[int, int], values: int, seed: int) -> np.ndarray:
    """A map of `values` labels in blocks with ragged edges, int64."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, values, (size[0] // 32, size[1] // 32))
    return np.roll(coarse.repeat(32, axis=0).repeat(32, axis=1), seed, axis=1)


def semantic_case(folder: Path, size: tuple[int, int], classes: int) -> Case:
    Image.fromarray(blobs(size, classes, 0).astype(np.uint16)).save(folder / "truth.tif")
    names = [f"class {k}" for k in range(classes)]
    MetadataCatalog.get("memory").set(stuff_classes=names, ignore_label=65535)
    labels = torch.from_numpy(blobs(size, classes, 3))
    evaluator = SemanticEvaluator("memory")
    record = {"file_name": "image", "sem_seg_file_name": str(folder / "truth.tif")}

    def work() -> object:
        evaluator.process([record], [{"sem_seg": labels}])
        return evaluator.results()

    return labels.nbytes, work


def panoptic_case(folder: Path, size: tuple[int, int], classes: int) -> Case:
    maps = [blobs(size, SEGMENTS, seed).astype(np.int32) + 1 for seed in (0, 3)]
    segments = [{"id": k + 1, "category_id": k % classes} for k in range(SEGMENTS)]
    return maps[1].nbytes, lambda: count_image(maps[0], segments, maps[1], segments, range(classes))


def instance_case(folder: Path, size: tuple[int, int], classes: int) -> Case:
    generator = np.random.default_rng(0)
    rows, columns = np.ogrid[: size[0], : size[1]]
    masks = torch.zeros((SEGMENTS, *size), dtype=torch.bool)
    for mask in masks:
        y, x, radius = generator.random(3) * (size[0], size[1], size[0] / 4)
        mask[:] = torch.from_numpy((rows - y) ** 2 + (columns - x) ** 2 < radius**2)
    instances = Instances(
        size, pred_masks=masks, scores=torch.ones(SEGMENTS), pred_classes=torch.arange(SEGMENTS) % classes
    )
    return masks.nbytes, lambda: encode_instances(instances, 1)


if __name__ == "__main__":
    sys.exit(run_tool(main))
