"""COCO: label maps from panoptic annotations, and COCO-Stuff's label maps renumbered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcclip.data.datasets.tables import category_table
from fcclip.data.prepare.jobs import Options, Output, count_outputs, run_jobs
from fcclip.data.prepare.label_maps import convert_folder, lookup_table, write_label_map
from fcclip.files.panoptic import ID_LIMIT, PanopticJson, read_panoptic_json, read_panoptic_png
from fcclip.files.stamps import is_current, stamp_of

IGNORE = 255
SPLITS = ("val", "train")


@dataclass(frozen=True)
class _SemanticJob:
    """A panoptic PNG, the label map to make of it, and contiguous class ids of its segments."""

    source: Path
    target: Path
    classes: dict[int, int]


def prepare_semantic(
    options: Options, json: Path | None = None, panoptic: Path | None = None, output: Path | None = None
) -> list[Output]:
    """Panoptic annotations -> label maps with contiguous ids, 255 where there is no segment.

    Args:
        options: where COCO lies, and with how many processes.
        json, panoptic, output: JSON, folder of PNGs and folder to write of the user's own dataset, whose classes are
            numbered by ascending category id; instead of COCO.
    """
    if json and panoptic and output:
        content = read_panoptic_json(json)
        ids = {category: index for index, category in enumerate(sorted(content.categories))}
        return [convert_panoptic(content, panoptic, output, ids, options.workers)]
    if json or panoptic or output:
        raise ValueError("give --json, --panoptic and --output together, or none of them")
    base, outputs = options.root / "coco", []
    for split in SPLITS:
        content = read_panoptic_json(base / f"annotations/panoptic_{split}2017.json")
        source, target = base / f"panoptic_{split}2017", base / f"panoptic_semseg_{split}2017"
        ids = category_table("coco_panoptic").index_of_id()
        outputs.append(convert_panoptic(content, source, target, ids, options.workers))
    return outputs


def convert_panoptic(
    content: PanopticJson, source: Path, target: Path, contiguous: dict[int, int], workers: int
) -> Output:
    """Make a folder of label maps from a folder of panoptic PNGs.

    Args:
        content: the description of the PNGs.
        source, target: the folders.
        contiguous: category id -> class id, less than 255.
        workers: number of processes.
    """
    if max(contiguous.values(), default=0) >= IGNORE:
        raise ValueError(f"{len(contiguous)} classes do not fit in an 8-bit label map, which holds {IGNORE}")
    if not content.annotations:
        raise ValueError(f"there is no annotation of a PNG in {source}, so there is nothing to convert")
    jobs: dict[Path, _SemanticJob] = {}
    for annotation in content.annotations.values():
        name = annotation["file_name"]
        unknown = {segment["category_id"] for segment in annotation["segments_info"]} - contiguous.keys()
        if unknown:
            raise ValueError(f"{name} has a segment of category id {unknown.pop()}, which the categories do not list")
        classes = {segment["id"]: contiguous[segment["category_id"]] for segment in annotation["segments_info"]}
        job = _SemanticJob(source / name, (target / name).with_suffix(".png"), classes)
        if job.target in jobs:
            raise ValueError(f"{jobs[job.target].source.name} and {name} would both be written to {job.target}")
        jobs[job.target] = job
    written = run_jobs(_convert_panoptic_png, list(jobs.values()), workers, target.name)
    return count_outputs(target, written)


def _convert_panoptic_png(job: _SemanticJob) -> bool:
    stamp = stamp_of([job.source], repr(sorted(job.classes.items())))
    if is_current(job.target, stamp):
        return False
    write_label_map(job.target, labels_of_segments(read_panoptic_png(job.source), job.classes), stamp)
    return True


def labels_of_segments(ids: np.ndarray, classes: dict[int, int]) -> np.ndarray:
    """(H, W) segment ids -> (H, W) uint8 labels; pixels of unlisted segments become 255."""
    # A table of all ids that there can be: filling 16 MB is several times faster than sorting the pixels.
    table = np.full(ID_LIMIT, IGNORE, dtype=np.uint8)
    table[list(classes)] = list(classes.values())
    return table[ids]


def prepare_stuff(options: Options) -> list[Output]:
    """coco/stuffthingmaps (category id - 1) -> coco/stuffthingmaps_detectron2 (0..170), 255 where unlabelled."""
    base = options.root / "coco"
    ids = category_table("coco_stuff").index_of_id()
    table = lookup_table({id_ - 1: index for id_, index in ids.items()}, IGNORE)
    return [
        convert_folder(
            base / f"stuffthingmaps/{split}2017",
            base / f"stuffthingmaps_detectron2/{split}2017",
            table,
            options,
            "COCO-Stuff label maps",
        )
        for split in SPLITS
    ]
