"""Score predictions that lie on disk, of whatever model: COCO panoptic files, and folders of label maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fcclip.evaluation.classes import display_names
from fcclip.evaluation.metrics.panoptic_quality import (
    CategoryCounts,
    PanopticInputError,
    PanopticQuality,
    Quality,
    count_image,
)
from fcclip.evaluation.metrics.semantic import add_pairs, class_scores, compare_label_maps, semantic_metrics
from fcclip.files.coco_json import require_described
from fcclip.files.images import LabelMapError, read_label_map
from fcclip.files.panoptic import read_panoptic_json, read_panoptic_png

LABEL_SUFFIXES = (".png", ".tif", ".tiff")

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def score_panoptic_files(
    truth_json: Path, truth_folder: Path, prediction_json: Path, prediction_folder: Path, threads: int = 4
) -> dict[str, Any]:
    """PQ of predictions in the COCO panoptic format, equal to the reference.

    Args:
        truth_json, truth_folder: ground truth, with `categories`.
        prediction_json, prediction_folder: predictions for exactly the same images.
        threads: images compared at the same time.

    Returns:
        `All`, `Things` and `Stuff`: {"PQ", "SQ", "RQ" (0 to 100, None if there is no class), "n" (classes averaged)};
        `per_class`: category id -> the same with "name", "tp", "fp", "fn" in place of "n"; `images`: their number.

    Raises:
        FileNotFoundError: a JSON or PNG file is missing.
        ValueError: the predictions are for other images, or do not fit the ground truth; names the image.
    """
    truth, prediction = read_panoptic_json(truth_json), read_panoptic_json(prediction_json)
    if not truth.categories:
        raise ValueError(f"{truth_json} has no categories, so there is nothing to score")
    require_described(truth.categories, truth_json, "name", "isthing")
    _require_same(truth.annotations, prediction.annotations, str(truth_json), str(prediction_json))

    def count(image_id: int | str) -> CategoryCounts:
        true, predicted = truth.annotations[image_id], prediction.annotations[image_id]
        try:
            return count_image(
                read_panoptic_png(truth_folder / true["file_name"]),
                true["segments_info"],
                read_panoptic_png(prediction_folder / predicted["file_name"]),
                predicted["segments_info"],
                truth.categories,
            )
        except PanopticInputError as error:
            raise PanopticInputError(f"image {image_id!r} ({predicted['file_name']}): {error}") from error

    quality = PanopticQuality(truth.categories)
    for counts in in_order(count, list(truth.annotations), threads):
        quality.add(counts)
    return panoptic_report(quality, len(truth.annotations))


def panoptic_report(quality: PanopticQuality, images: int) -> dict[str, Any]:
    """What was counted, as `score_panoptic_files` returns it."""
    groups = {"All": None, "Things": quality.things(), "Stuff": quality.things(False)}
    report: dict[str, Any] = {name: group_scores(quality.quality(ids)) for name, ids in groups.items()}
    report["per_class"] = _class_report(quality)
    report["images"] = images
    return report


def score_label_folders(
    truth_folder: Path, prediction_folder: Path, names: Sequence[str], ignore_label: int, threads: int = 4
) -> dict[str, Any]:
    """mIoU and its relatives of label maps with the same names, but for the suffix, in two folders.

    Args:
        truth_folder, prediction_folder: folders of PNG or TIFF label maps, with the same names below them.
        names: class of each label, from 0; of synonyms separated by commas the first is used.
        ignore_label: pixels with this label in the ground truth do not count.
        threads: images compared at the same time.

    Returns:
        `All`: averages as in `semantic_metrics`; `per_class`: label -> {"name", "IoU", "ACC"}; `images`: their number.

    Raises:
        FileNotFoundError: a folder is missing or has no label map.
        ValueError: the folders are of other images, or a map does not fit; names the file.
    """
    if not names:
        raise ValueError("there are no class names; a label map cannot be scored without knowing its classes")
    truth, prediction = _label_files(truth_folder), _label_files(prediction_folder)
    _require_same(truth, prediction, str(truth_folder), str(prediction_folder))

    def compare(stem: str) -> Any:
        try:
            maps = read_label_map(prediction[stem]), read_label_map(truth[stem])
            return compare_label_maps(*maps, len(names), ignore_label)
        except LabelMapError as error:
            raise LabelMapError(f"{prediction[stem]}: {error}") from error

    confusion = np.zeros((len(names) + 1, len(names)), np.int64)
    for pairs in in_order(compare, sorted(truth), threads):
        add_pairs(confusion, pairs)
    scores = enumerate(zip(display_names(names), *class_scores(confusion), strict=True))
    return {
        "All": {key: _defined(value) for key, value in semantic_metrics(confusion).items()},
        "per_class": {
            str(label): {"name": name, "IoU": _defined(iou), "ACC": _defined(accuracy)}
            for label, (name, iou, accuracy) in scores
        },
        "images": len(truth),
    }


def in_order(function: Callable[[Item], Outcome], items: Sequence[Item], threads: int) -> Iterator[Outcome]:
    """Results in the order of `items`; decoding and counting release Python's lock, so that threads help."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            yield from pool.map(function, items)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _require_same(truth: Iterable[Any], prediction: Iterable[Any], truth_name: str, prediction_name: str) -> None:
    """One sentence about the first image that only one side has."""
    true, predicted = set(truth), set(prediction)
    missing, extra = sorted(true - predicted, key=str), sorted(predicted - true, key=str)
    if missing:
        raise ValueError(
            f"{prediction_name} has no prediction for {len(missing)} of {len(true)} images of {truth_name}, "
            f"e.g. {missing[0]!r}"
        )
    if extra:
        raise ValueError(
            f"{prediction_name} has predictions for {len(extra)} images that {truth_name} does not have, "
            f"e.g. {extra[0]!r}"
        )


def _label_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of label maps {folder} does not exist")
    # A name with a dot in front is what a run that was killed left behind.
    found = sorted(path for path in folder.rglob("[!.]*") if path.suffix.lower() in LABEL_SUFFIXES)
    files = {str(path.relative_to(folder).with_suffix("")): path for path in found}
    if not files:
        raise FileNotFoundError(f"{folder} has no label map ({', '.join(LABEL_SUFFIXES)})")
    return files


def group_scores(quality: Quality) -> dict[str, float | int | None]:
    return {**_scores(quality), "n": quality.classes}


def _class_report(quality: PanopticQuality) -> dict[str, dict[str, Any]]:
    report = {}
    for (id_, scores), row in zip(quality.per_class().items(), quality.counts, strict=True):
        tp, fp, fn = (int(value) for value in row[1:])
        report[str(id_)] = {"name": quality.categories[id_]["name"], **_scores(scores), "tp": tp, "fp": fp, "fn": fn}
    return report


def _scores(quality: Quality) -> dict[str, float | None]:
    values = {"PQ": quality.pq, "SQ": quality.sq, "RQ": quality.rq}
    return {key: _defined(100 * value) for key, value in values.items()}


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
