"""Make a folder of panoptic PNGs and its JSON file, whatever the annotations are made from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fcclip.data.datasets.tables import category_table
from fcclip.data.prepare.jobs import Output, count_outputs, run_jobs, stamp_of_json
from fcclip.files.atomic import write_json
from fcclip.files.panoptic import write_panoptic_png
from fcclip.files.stamps import STAMP, is_current, stamp_of

Record = dict[str, Any]
# From the input files of an image to its (H, W) segment ids and the records of its segments.
MakePanoptic = Callable[[tuple[Path, ...]], tuple[np.ndarray, list[Record]]]


@dataclass(frozen=True)
class PanopticJob:
    """One image.

    Attributes:
        sources: files that the segments are made from.
        target: the PNG to write.
        image_id, image_name: of the record in the JSON file.
    """

    sources: tuple[Path, ...]
    target: Path
    image_id: str
    image_name: str


def write_panoptic_dataset(
    folder: Path,
    jobs: Sequence[PanopticJob],
    make: MakePanoptic,
    categories: str,
    workers: int,
    info: Mapping[str, str] | None = None,
) -> list[Output]:
    """Write one PNG per job into `folder`, and beside it the JSON file of the same name.

    The JSON needs the segments of every image, so a run after an interruption reads all sources again, but it does not
    write whole PNGs again.

    Args:
        folder: the folder of PNGs.
        jobs: one for every image.
        make: a module-level function (or a partial of one).
        categories: name of the category table.
        workers: number of processes.
        info: how the JSON is made, to be stated in it; a JSON that states otherwise is made again.
    """
    json_file, recipe = folder.with_suffix(".json"), f"{categories} {sorted((info or {}).items())}"
    stamp = stamp_of([source for job in jobs for source in job.sources], recipe)
    if stamp_of_json(json_file) == stamp and all(is_current(job.target, stamp_of(job.sources)) for job in jobs):
        return [Output(folder, written=0, kept=len(jobs)), Output(json_file, written=0, kept=1)]
    found = run_jobs(partial(_convert, make=make), jobs, workers, folder.name, unit="image")
    content = {
        "info": {**(info or {}), STAMP: stamp},
        "images": [image for _, _, image in found],
        "annotations": [annotation for _, annotation, _ in found],
        "categories": _categories(categories),
    }
    write_json(json_file, content)
    return [count_outputs(folder, [written for written, _, _ in found]), Output(json_file, written=1, kept=0)]


def _convert(job: PanopticJob, make: MakePanoptic) -> tuple[bool, Record, Record]:
    """Write one PNG unless it was made of the same; return whether, and the records of annotation and image."""
    ids, segments = make(job.sources)
    stamp = stamp_of(job.sources)
    written = not is_current(job.target, stamp)
    if written:
        write_panoptic_png(job.target, ids, stamp)
    height, width = ids.shape
    annotation = {"image_id": job.image_id, "file_name": job.target.name, "segments_info": segments}
    return written, annotation, {"id": job.image_id, "file_name": job.image_name, "width": width, "height": height}


def _categories(stem: str) -> list[Record]:
    table = category_table(stem)
    columns = zip(table.ids, table.names, table.is_thing, table.colors, strict=True)
    return [
        {"id": id_, "name": name, "isthing": int(thing), "color": list(color)} for id_, name, thing, color in columns
    ]
