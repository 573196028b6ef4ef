"""Measure the time that PQ takes per image: counted in memory, and by way of files as the reference tools do it.

    python tools/benchmark_pq.py --gt-json panoptic_val2017.json --gt-folder panoptic_val2017

Predictions are the ground truth, shifted by a few pixels. In memory: read the ground-truth PNG and count. By files:
colour the prediction, write a PNG and JSON, read both PNGs, turn colours into ids and count pairs of ids in a table of
all pixels. Both happen in turn in this one process and thread. Of each image the shortest time of several counts, as it
is the least disturbed by other programs; the means over images are compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from PIL import Image

from fcclip.commands.errors import run_tool
from fcclip.evaluation.metrics.panoptic_quality import CategoryCounts, PanopticQuality, count_image
from fcclip.files.panoptic import VOID, PanopticJson, read_panoptic_json, read_panoptic_png


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gt-json", type=Path, required=True, help="ground truth, COCO panoptic JSON")
    parser.add_argument("--gt-folder", type=Path, required=True, help="its PNGs")
    parser.add_argument("--images", type=int, default=200, help="images at most (default %(default)s)")
    parser.add_argument(
        "--repeat", type=int, default=20, help="times that each image is measured (default %(default)s)"
    )
    options = parser.parse_args()
    truth = read_panoptic_json(options.gt_json)
    images = list(truth.annotations.values())[: options.images]
    memory, files = measure(truth, images, options.gt_folder, options.repeat)
    print(f"{len(images)} images, each {options.repeat} times")
    print(f"in memory      {1000 * memory:8.2f} ms per image")
    print(f"by PNG files   {1000 * files:8.2f} ms per image")
    print(f"ratio          {files / memory:8.1f}")


def measure(truth: PanopticJson, images: list[dict[str, Any]], folder: Path, repeat: int) -> tuple[float, float]:
    """Seconds per image in memory and by files; the two are checked to give the same counts."""
    memory_seconds, file_seconds = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for record in images:
            path = folder / record["file_name"]
            prediction = np.roll(read_panoptic_png(path), (2, 3), (0, 1))
            segments = record["segments_info"]

            def in_memory(path: Path = path, prediction: np.ndarray = prediction, segments: Any = segments) -> Any:
                return count_image(read_panoptic_png(path), segments, prediction, segments, truth.categories)

            def by_files(path: Path = path, prediction: np.ndarray = prediction, segments: Any = segments) -> Any:
                return count_by_files(path, prediction, segments, Path(scratch))

            require_equal(in_memory(), by_files(), truth)
            times = [(timed(in_memory), timed(by_files)) for _ in range(repeat)]
            memory_seconds.append(min(memory for memory, _ in times))
            file_seconds.append(min(files for _, files in times))
    return mean(memory_seconds), mean(file_seconds)


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def count_by_files(path: Path, prediction: np.ndarray, segments: list[dict[str, Any]], folder: Path) -> CategoryCounts:
    """Write the prediction, read it and the ground truth, and count with a table of pairs of ids."""
    Image.fromarray(ids_to_colors(prediction)).save(folder / "prediction.png")
    (folder / "prediction.json").write_text(json.dumps({"annotations": [{"segments_info": segments}]}))

    maps = [colors_to_ids(np.array(Image.open(file), dtype=np.uint32)) for file in (path, folder / "prediction.png")]
    predicted = json.loads((folder / "prediction.json").read_text())["annotations"][0]["segments_info"]
    areas = dict(zip(*np.unique(maps[1], return_counts=True), strict=True))
    pairs, counts = np.unique(maps[0].astype(np.uint64) << 24 | maps[1].astype(np.uint64), return_counts=True)
    shared = {(int(pair) >> 24, int(pair) & 0xFFFFFF): int(n) for pair, n in zip(pairs, counts, strict=True)}
    return count_pairs_of_segments(shared, areas, {s["id"]: s for s in segments}, {s["id"]: s for s in predicted})


def ids_to_colors(ids: np.ndarray) -> np.ndarray:
    """Digits to the base 256, by division as the reference does it."""
    rest = ids.copy()
    colors = np.zeros((*ids.shape, 3), np.uint8)
    for channel in range(3):
        colors[..., channel] = rest % 256
        rest //= 256
    return colors


def colors_to_ids(colors: np.ndarray) -> np.ndarray:
    return colors[..., 0] + 256 * colors[..., 1] + 65536 * colors[..., 2]


def count_pairs_of_segments(
    shared: dict[tuple[int, int], int],
    areas: dict[int, int],
    true: dict[int, dict[str, Any]],
    predicted: dict[int, dict[str, Any]],
) -> CategoryCounts:
    """PQ's counts, segment by segment in Python, as in the definition."""
    sums: dict[int, list[float]] = {}
    found: set[int] = set()
    used: set[int] = set()
    crowd = {segment["category_id"]: id_ for id_, segment in true.items() if segment.get("iscrowd")}

    def add(category: int, *values: float) -> None:
        sums[category] = [a + b for a, b in zip(sums.get(category, [0.0] * 4), values, strict=True)]

    for (true_id, predicted_id), pixels in shared.items():
        if true_id not in true or predicted_id not in predicted or true[true_id].get("iscrowd"):
            continue
        category = true[true_id]["category_id"]
        if category != predicted[predicted_id]["category_id"]:
            continue
        void = shared.get((VOID, predicted_id), 0)
        iou = pixels / (true[true_id]["area"] + int(areas[predicted_id]) - pixels - void)
        if iou > 0.5:
            add(category, iou, 1, 0, 0)
            found.add(true_id)
            used.add(predicted_id)
    for id_, segment in true.items():
        if id_ not in found and not segment.get("iscrowd"):
            add(segment["category_id"], 0, 0, 0, 1)
    for id_, segment in predicted.items():
        if id_ in used:
            continue
        excused = shared.get((VOID, id_), 0) + shared.get((crowd.get(segment["category_id"], -1), id_), 0)
        if excused / int(areas[id_]) <= 0.5:
            add(segment["category_id"], 0, 0, 1, 0)
    columns = zip(("iou", "tp", "fp", "fn"), zip(*sums.values(), strict=True), strict=True)
    return {"category": list(sums), **{name: list(values) for name, values in columns}}


def require_equal(first: CategoryCounts, second: CategoryCounts, truth: PanopticJson) -> None:
    """Raise RuntimeError unless both ways counted the same."""
    totals = [PanopticQuality(truth.categories) for _ in range(2)]
    for total, counts in zip(totals, (first, second), strict=True):
        total.add(counts)
    if not np.allclose(totals[0].counts, totals[1].counts, rtol=0, atol=1e-9):
        raise RuntimeError("the two ways disagree, so that their times cannot be compared")


if __name__ == "__main__":
    sys.exit(run_tool(main))
