"""PASCAL VOC 2012: the segmentation subset with 21 classes, and with 20 (without background)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fcclip.data.prepare.jobs import Options, Output, copy_file, count_outputs, run_jobs
from fcclip.data.prepare.label_maps import convert_label_map, lookup_table

FOLDERS = {"train": "training", "val": "validation"}
IGNORE = 255


def prepare(options: Options) -> list[Output]:
    """VOCdevkit/VOC2012 -> pascal_voc_d2/{images,annotations_pascal21,annotations_pascal20}."""
    source, target = options.root / "VOCdevkit/VOC2012", options.root / "pascal_voc_d2"
    without_background = lookup_table({label: label - 1 for label in range(1, 21)}, IGNORE)
    outputs = []
    for split, folder in FOLDERS.items():
        stems = read_list(source / f"ImageSets/Segmentation/{split}.txt")
        steps = (
            ("JPEGImages", ".jpg", "images", copy_file),
            ("SegmentationClass", ".png", "annotations_pascal21", copy_file),
            ("SegmentationClass", ".png", "annotations_pascal20", partial(convert_label_map, table=without_background)),
        )
        for original, suffix, name, convert in steps:
            goal = target / name / folder
            jobs = [(source / original / f"{stem}{suffix}", goal / f"{stem}{suffix}") for stem in stems]
            written = run_jobs(convert, jobs, options.workers, f"{name}/{folder}")
            outputs.append(count_outputs(goal, written))
    return outputs


def read_list(path: Path) -> list[str]:
    """File stems of a split: the first word of every line."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; expected the VOCdevkit folder of PASCAL VOC in {path.parents[3]}"
        )
    return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
