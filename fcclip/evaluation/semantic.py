"""Semantic evaluation: one confusion matrix, from which all metrics of both conventions follow."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from fcclip.data.prepare.label_maps import write_label_map
from fcclip.evaluation.base import Comparison, ImageEvaluator, ImageStatistics, Results, require_output
from fcclip.evaluation.classes import display_names
from fcclip.evaluation.label_maps import to_label_map
from fcclip.evaluation.metrics.histogram import PairCounts
from fcclip.evaluation.metrics.semantic import (
    CONVENTIONS,
    add_pairs,
    class_scores,
    compare_label_maps,
    image_iou,
    semantic_metrics,
)
from fcclip.files.images import LabelMapError, read_label_map

PREDICTIONS = "semantic_predictions"


class SemanticEvaluator(ImageEvaluator):
    """mIoU, fwIoU, mACC and pACC of `sem_seg`, under the keys of Detectron2's SemSegEvaluator and some more.

    Memory: the confusion matrix, 8 (C + 1) C bytes (12 MB for 1203 classes), whatever the size of the images.

    Args:
        dataset_name: its metadata has `stuff_classes` and `ignore_label`; its records have `sem_seg_file_name`.
        unseen: contiguous ids of classes not seen in training; adds mIoU_seen, mIoU_unseen and hIoU.
        export: folder into which `semantic_predictions/` is written, one label map per image; None: nowhere.
    """

    name = "semantic"
    conventions = CONVENTIONS

    def __init__(self, dataset_name: str, unseen: Collection[int] = (), export: Path | None = None) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        self._dataset_name = dataset_name
        self._ignore_label = metadata.ignore_label
        self.class_names = display_names(metadata.stuff_classes)
        self._unseen = unseen
        self._export = export
        self.reset()

    def reset(self) -> None:
        classes = len(self.class_names)
        self.confusion = np.zeros((classes + 1, classes), np.int64)

    def truth_files(self, records: Sequence[Mapping[str, Any]]) -> Iterable[str | Path]:
        return [self._truth_file(record) for record in records]

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Compare one image; `record` needs `file_name`, and `sem_seg_file_name` unless the dataset's records have it.

        Raises:
            ValueError: the output has no semantic result, or it does not fit the ground truth; names the image.
        """
        try:
            predicted, true = self._maps(record, output)
            pairs = compare_label_maps(predicted, true, len(self.class_names), self._ignore_label)
        except LabelMapError as error:
            raise LabelMapError(f"{record['file_name']}: {error}") from error
        if self._export is not None:
            kind = np.uint8 if max(len(self.class_names), self._ignore_label) <= np.iinfo(np.uint8).max else np.uint16
            write_label_map(self._export / PREDICTIONS / self._prediction_name(record), predicted.astype(kind))
        return {"predicted": pairs.first.tolist(), "true": pairs.second.tolist(), "pixels": pairs.pixels.tolist()}

    def add(self, statistics: ImageStatistics) -> None:
        add_pairs(self.confusion, _pairs(statistics))

    def state(self) -> np.ndarray:
        return self.confusion

    def merge(self, state: np.ndarray) -> None:
        self.confusion += state

    def score(self, statistics: ImageStatistics) -> float | None:
        """Mean IoU over the classes in the image's ground truth or prediction; None without ground truth."""
        return image_iou(_pairs(statistics), len(self.class_names))

    def compare(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> Comparison:
        predicted, true = (labels.astype(np.int32) for labels in self._maps(record, output))
        known = np.where(true == self._ignore_label, -1, true)
        return Comparison(known, predicted, known, predicted)

    def confusion_matrix(self) -> tuple[np.ndarray, Sequence[str]]:
        return self.confusion, self.class_names

    def results(self) -> Results:
        values = semantic_metrics(self.confusion, self._unseen)
        iou, accuracy = class_scores(self.confusion)
        values |= {f"IoU-{name}": float(value) for name, value in zip(self.class_names, iou, strict=True)}
        values |= {f"ACC-{name}": float(value) for name, value in zip(self.class_names, accuracy, strict=True)}
        return {"sem_seg": values}

    def _maps(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Predicted and true label map."""
        labels = to_label_map(require_output(output, "sem_seg", "SEMANTIC_ON"), len(self.class_names))
        return labels, read_label_map(self._truth_file(record))

    def _truth_file(self, record: Mapping[str, Any]) -> str:
        return record.get("sem_seg_file_name") or self._truth_files[record["file_name"]]

    def _prediction_name(self, record: Mapping[str, Any]) -> Path:
        """As the ground truth is called below the folder that all of it is in."""
        return Path(self._truth_file(record)).relative_to(self._truth_root).with_suffix(".png")

    @cached_property
    def _truth_root(self) -> Path:
        records = DatasetCatalog.get(self._dataset_name)
        return Path(os.path.commonpath([Path(self._truth_file(record)).parent for record in records]))

    @cached_property
    def _truth_files(self) -> dict[str, str]:
        """Image file -> label map, for records that went through a mapper that drops the latter."""
        records = DatasetCatalog.get(self._dataset_name)
        if any("sem_seg_file_name" not in record for record in records):
            raise ValueError(
                f'dataset "{self._dataset_name}" has no label maps to score semantic maps with; prepare them, or set '
                "MODEL.MASK_FORMER.TEST.SEMANTIC_ON False"
            )
        return {record["file_name"]: record["sem_seg_file_name"] for record in records}


def _pairs(statistics: ImageStatistics) -> PairCounts:
    return PairCounts(*(np.asarray(statistics[key], dtype=np.int64) for key in ("predicted", "true", "pixels")))
