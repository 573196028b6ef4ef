#!/usr/bin/env python3
"""Panoptic quality of exported models on scenes of the built-in world, and CPU seconds per picture.

    fcclip export --model panoshapes --output float32
    fcclip export --model panoshapes --output int8 --int8 dynamic
    python tools/exported_quality.py float32 int8 --scenes 50

The pictures are the first ones of the split val_all, which no training has seen.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from fcclip.data.panoshapes.dataset import SPLITS
from fcclip.engine.errors import run_tool
from fcclip.evaluation.metrics.panoptic_quality import PanopticQuality, count_image
from fcclip.export import Runtime
from fcclip.vocabulary import Category, Vocabulary

SPLIT = SPLITS["val_all"]


def quality_of(folder: Path, scenes: int) -> tuple[float, float]:
    """PQ in percent, and CPU seconds per picture, of an exported model."""
    classes = SPLIT.classes
    runtime = Runtime(folder)
    runtime.set_vocabulary(Vocabulary(tuple(Category((entry.name,), entry.is_thing) for entry in classes)))
    total = PanopticQuality({index: {"isthing": entry.is_thing} for index, entry in enumerate(classes)})
    seconds = 0.0
    for scene in map(SPLIT.scene, range(scenes)):
        start = time.process_time()
        result = runtime.predict(scene.image)
        seconds += time.process_time() - start
        if result.panoptic is None:
            raise ValueError(f"{folder} gives no panoptic results; export a model that does")
        true = [{"id": segment.id, "category_id": segment.category} for segment in scene.segments]
        found = [{"id": segment.id, "category_id": segment.category_id} for segment in result.segments]
        total.add(count_image(scene.ids, true, result.panoptic, found, range(len(classes))))
    return 100 * total.quality().pq, seconds / scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="exported models")
    parser.add_argument("--scenes", type=int, default=50)
    options = parser.parse_args()
    print(f"{'':24}{'PQ':>8}{'CPU s':>8}{'MB':>8}")
    for folder in options.folders:
        quality, seconds = quality_of(folder, options.scenes)
        size = (folder / "image.onnx").stat().st_size / 1e6
        print(f"{folder.name:24}{quality:8.2f}{seconds:8.3f}{size:8.1f}")


if __name__ == "__main__":
    sys.exit(run_tool(main))
