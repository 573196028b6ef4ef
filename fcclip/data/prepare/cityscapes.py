"""Cityscapes: label maps with training ids, and the panoptic format, from the files of gtFine.

Source: the formats of https://github.com/mcordts/cityscapesScripts (createTrainIdLabelImgs, createPanopticImgs).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fcclip.data.datasets.tables import category_table
from fcclip.data.prepare.jobs import Options, Output, count_outputs, run_jobs
from fcclip.data.prepare.label_maps import convert_label_map, lookup_table
from fcclip.data.prepare.panoptic import PanopticJob, write_panoptic_dataset
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import measure_segments

SPLITS = ("train", "val")
IGNORE = 255
# An instance map holds 1000 * label + number for single objects, and the label alone for stuff and for groups.
_FIRST_INSTANCE = 1000
_INSTANCES, _LABELS, _TRAIN_IDS = "_gtFine_instanceIds.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"

Record = dict[str, Any]


def prepare(options: Options) -> list[Output]:
    """gtFine/{train,val} -> gtFine/**/*_labelTrainIds.png and gtFine/cityscapes_panoptic_{train,val}{/,.json}."""
    outputs = []
    for split in SPLITS:
        folder = options.root / "cityscapes/gtFine" / split
        instances = sorted(folder.glob(f"*/*{_INSTANCES}"))
        if not instances:
            raise FileNotFoundError(
                f"{folder} has no CITY/*{_INSTANCES}; expected Cityscapes' gtFine_trainvaltest there"
            )
        outputs += [_train_ids(folder, instances, options), *_panoptic(folder, instances, options)]
    return outputs


def _train_ids(folder: Path, instances: list[Path], options: Options) -> Output:
    table = lookup_table(category_table("cityscapes").index_of_id(), IGNORE)
    jobs = [(_sibling(path, _LABELS), _sibling(path, _TRAIN_IDS)) for path in instances]
    convert = partial(convert_label_map, table=table)
    return count_outputs(folder, run_jobs(convert, jobs, options.workers, f"{folder.name}: training ids"))


def _panoptic(folder: Path, instances: list[Path], options: Options) -> list[Output]:
    target = folder.parent / f"cityscapes_panoptic_{folder.name}"
    jobs = [
        PanopticJob(
            (path,),
            target / f"{_frame(path)}_gtFine_panoptic.png",
            _frame(path),
            f"{_frame(path)}_gtFine_leftImg8bit.png",
        )
        for path in instances
    ]
    return write_panoptic_dataset(target, jobs, _make_panoptic, "cityscapes", options.workers)


def _make_panoptic(sources: tuple[Path, ...]) -> tuple[np.ndarray, list[Record]]:
    return panoptic_of_instances(read_label_map(sources[0]))


def panoptic_of_instances(instances: np.ndarray) -> tuple[np.ndarray, list[Record]]:
    """Segment ids (the values of the instance map, 0 for classes that are not evaluated) and segment records.

    Args:
        instances: (H, W) instance map.
    """
    table = category_table("cityscapes")
    is_thing = dict(zip(table.ids, table.is_thing, strict=True))
    segments, ids = [], np.zeros(instances.shape, dtype=np.int32)
    for value in np.unique(instances).tolist():
        single = value >= _FIRST_INSTANCE
        category = value // 1000 if single else value
        if category in is_thing:
            ids[instances == value] = value
            segments.append({"id": value, "category_id": category, "iscrowd": int(is_thing[category] and not single)})
    return ids, measure_segments(ids, segments)


def _frame(path: Path) -> str:
    """CITY_SEQUENCE_FRAME of an instance map."""
    return path.name.removesuffix(_INSTANCES)


def _sibling(path: Path, ending: str) -> Path:
    return path.with_name(_frame(path) + ending)
