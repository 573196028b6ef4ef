"""Cityscapes' own metrics without its scripts, temporary files or a GPU: instance AP, IoU and iIoU."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.data.catalog import Metadata

from fcclip.evaluation.base import NAN_ADVICE, ImageEvaluator, ImageStatistics, Results, require_output
from fcclip.evaluation.classes import dataset_ids
from fcclip.evaluation.label_maps import to_label_map
from fcclip.evaluation.metrics.cityscapes_ap import ImageMatches, average_precisions, match_image
from fcclip.evaluation.metrics.cityscapes_labels import (
    EVALUATED,
    FIRST_INSTANCE,
    LABELS,
    THINGS,
    CityscapesLabel,
    label_of_instance,
)
from fcclip.evaluation.metrics.histogram import count_pairs
from fcclip.files.images import LabelMapError, read_label_map

_CATEGORIES = tuple(dict.fromkeys(label.category for label in EVALUATED))
_THING_CATEGORIES = tuple(dict.fromkeys(label.category for label in THINGS))
_EVALUATED_IDS = [label.id for label in EVALUATED]
# Columns of the table of weighted pixels: all, those with the right label, those with a label of its category.
_ALL, _RIGHT_LABEL, _RIGHT_CATEGORY = range(3)


class CityscapesInstanceEvaluator(ImageEvaluator):
    """AP and AP50 of `instances` as in Cityscapes' benchmark, under Detectron2's key "segm".

    Args:
        dataset_name: its metadata has `gt_dir` (folder of cities with `*_gtFine_instanceIds.png`) and `thing_classes`.
    """

    name = "cityscapes_instances"
    conventions: Mapping[str, str] = {
        "AP": "Cityscapes' benchmark: mean over IoU above 0.5, 0.55, ..., 0.95 and 8 classes"
    }

    def __init__(self, dataset_name: str) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        self._truth_folder = Path(metadata.gt_dir)
        self._labels = label_ids(metadata, metadata.thing_classes)
        self.reset()

    def truth_files(self, records: Sequence[Mapping[str, Any]]) -> Iterable[str | Path]:
        return [instance_file(self._truth_folder, record["file_name"]) for record in records]

    def reset(self) -> None:
        self._images: list[ImageMatches] = []

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        instances = require_output(output, "instances", "INSTANCE_ON")
        truth = read_label_map(instance_file(self._truth_folder, record["file_name"]))
        labels = [self._labels[contiguous] for contiguous in instances.pred_classes.tolist()]
        if not torch.isfinite(instances.scores).all():
            raise ValueError(f"{record['file_name']}: the scores of the model's instances are NaN; {NAN_ADVICE}")
        masks = ((mask != 0).cpu().numpy() for mask in instances.pred_masks)
        return match_image(truth, masks, labels, instances.scores.tolist()).to_json()

    def add(self, statistics: ImageStatistics) -> None:
        self._images.append(ImageMatches.from_json(statistics))

    def state(self) -> list[ImageMatches]:
        return self._images

    def merge(self, state: list[ImageMatches]) -> None:
        self._images += state

    def results(self) -> Results:
        precision = 100 * average_precisions(self._images)
        values = {"AP": _mean(precision), "AP50": _mean(precision[:, 0])}
        values |= {f"AP-{label.name}": float(row.mean()) for label, row in zip(THINGS, precision, strict=True)}
        values |= {f"AP50-{label.name}": float(row[0]) for label, row in zip(THINGS, precision, strict=True)}
        return {"segm": values}


class CityscapesSemSegEvaluator(ImageEvaluator):
    """IoU, iIoU and both for the 7 categories (`_sup`), as in Cityscapes' benchmark, under Detectron2's keys.

    iIoU weighs the pixels of an instance by the average size of its class over its own size, so that small ones count
    as much as large ones.

    Args:
        dataset_name: its metadata has `gt_dir` and `stuff_classes` (all 19 classes).
        unseen: contiguous ids of classes not seen in training; adds IoU_seen, IoU_unseen.
    """

    name = "cityscapes_semantic"
    conventions: Mapping[str, str] = {
        "IoU": "Cityscapes' benchmark: mean over the classes in the ground truth or predicted on known pixels",
        "iIoU": "IoU with the pixels of each instance weighted by average class size / its size; things only",
    }

    def __init__(self, dataset_name: str, unseen: Collection[int] = ()) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        self._truth_folder = Path(metadata.gt_dir)
        self._labels = np.array(label_ids(metadata, metadata.stuff_classes))
        self._unseen = {int(self._labels[contiguous]) for contiguous in unseen}
        self.reset()

    def truth_files(self, records: Sequence[Mapping[str, Any]]) -> Iterable[str | Path]:
        return [instance_file(self._truth_folder, record["file_name"]) for record in records]

    def reset(self) -> None:
        self._pixels = np.zeros((LABELS, LABELS), np.int64)  # [true, predicted]
        self._weighted = np.zeros((LABELS, 3))  # weighted pixels of instances: [true, _ALL ... _RIGHT_CATEGORY]

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        prediction = to_label_map(require_output(output, "sem_seg", "SEMANTIC_ON"), len(self._labels))
        truth = read_label_map(instance_file(self._truth_folder, record["file_name"]))
        if prediction.shape != truth.shape:
            raise LabelMapError(
                f"{record['file_name']}: the prediction has {prediction.shape} pixels, the ground truth {truth.shape}"
            )
        if prediction.min() < 0 or prediction.max() >= len(self._labels):
            raise LabelMapError(
                f"{record['file_name']}: predicted labels span [{prediction.min()}, {prediction.max()}], "
                f"but there are {len(self._labels)} classes"
            )
        pairs = count_pairs(truth, self._labels[prediction])
        return {"instance": pairs.first.tolist(), "predicted": pairs.second.tolist(), "pixels": pairs.pixels.tolist()}

    def add(self, statistics: ImageStatistics) -> None:
        instances, predicted, pixels = (np.asarray(statistics[key]) for key in ("instance", "predicted", "pixels"))
        true = label_of_instance(instances)
        np.add.at(self._pixels, (true, predicted), pixels)
        for label in THINGS:
            same_category = [other.id for other in EVALUATED if other.category == label.category]
            for instance in np.unique(instances[(true == label.id) & (instances >= FIRST_INSTANCE)]):
                rows = instances == instance
                size = pixels[rows].sum()
                right = pixels[rows & (predicted == label.id)].sum()
                right_category = pixels[rows & np.isin(predicted, same_category)].sum()
                self._weighted[label.id] += np.array([size, right, right_category]) * (label.instance_size / size)

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        return self._pixels, self._weighted

    def merge(self, state: tuple[np.ndarray, np.ndarray]) -> None:
        self._pixels += state[0]
        self._weighted += state[1]

    def results(self) -> Results:
        iou = {label: self._iou([label]) for label in EVALUATED}
        instance_iou = {label: self._instance_iou([label], _RIGHT_LABEL) for label in THINGS}
        groups = {name: [label for label in EVALUATED if label.category == name] for name in _CATEGORIES}
        values = {
            "IoU": _mean(iou.values()),
            "iIoU": _mean(instance_iou.values()),
            "IoU_sup": _mean(self._iou(labels) for labels in groups.values()),
            "iIoU_sup": _mean(self._instance_iou(groups[name], _RIGHT_CATEGORY) for name in _THING_CATEGORIES),
        }
        if self._unseen:
            values["IoU_seen"] = _mean(value for label, value in iou.items() if label.id not in self._unseen)
            values["IoU_unseen"] = _mean(value for label, value in iou.items() if label.id in self._unseen)
        values |= {f"IoU-{label.name}": value for label, value in iou.items()}
        values |= {f"iIoU-{label.name}": value for label, value in instance_iou.items()}
        return {"sem_seg": values}

    def _iou(self, labels: Sequence[CityscapesLabel]) -> float:
        """IoU of the union of some labels; confusions among them are no errors, predictions on void are not counted."""
        ids = [label.id for label in labels]
        right = self._pixels[np.ix_(ids, ids)].sum()
        return _ratio(right, self._pixels[ids].sum() + self._false_positives(ids))

    def _instance_iou(self, labels: Sequence[CityscapesLabel], right: int) -> float:
        """As `_iou`, of things and with weighted pixels; `right` is the column of those that count as found."""
        ids = [label.id for label in labels]
        sums = self._weighted[ids].sum(axis=0)
        return _ratio(sums[right], sums[_ALL] + self._false_positives(ids))

    def _false_positives(self, ids: list[int]) -> int:
        others = [row for row in _EVALUATED_IDS if row not in ids]
        return int(self._pixels[np.ix_(others, ids)].sum())


def label_ids(metadata: Metadata, class_strings: Sequence[str]) -> list[int]:
    """Cityscapes' label id of each contiguous class id.

    The dataset's own id maps count where it has them; else a class is known by the first of its synonyms that is an
    official name ("automobile,car" -> 26).

    Raises:
        ValueError: a class has neither.
    """
    mapped = dataset_ids(metadata, things=False) | dataset_ids(metadata, things=True)
    official = {label.name: label.id for label in EVALUATED}
    ids = []
    for contiguous, string in enumerate(class_strings):
        synonyms = [name.strip().lower() for name in string.split(",")]
        named = next((official[name] for name in synonyms if name in official), None)
        label_id = mapped.get(contiguous, named)
        if label_id is None:
            raise ValueError(
                f'class "{string}" of "{metadata.name}" is none of Cityscapes\'; give it the official name as a synonym'
            )
        ids.append(label_id)
    return ids


def instance_file(truth_folder: Path, image_file: str) -> Path:
    """The instance map of an image: `gt_dir/CITY/FRAME_gtFine_instanceIds.png`.

    Raises:
        FileNotFoundError: it is not there.
    """
    image = Path(image_file)
    frame = image.stem.removesuffix("_leftImg8bit")
    path = truth_folder / image.parent.name / f"{frame}_gtFine_instanceIds.png"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; Cityscapes' metrics need gtFine's *_instanceIds.png files")
    return path


def _ratio(part: float, whole: float) -> float:
    return float(100 * part / whole) if whole else float("nan")


def _mean(values: Any) -> float:
    """Mean of what is defined; NaN if nothing is."""
    array = np.array(list(values) if not isinstance(values, np.ndarray) else values, dtype=float)
    defined = array[~np.isnan(array)]
    return float(defined.mean()) if defined.size else float("nan")
