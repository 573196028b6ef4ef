"""Panoptic evaluation: PQ is counted in memory, image by image, while the model runs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog

from fcclip.evaluation.base import NAN_ADVICE, Comparison, ImageEvaluator, ImageStatistics, Results, require_output
from fcclip.evaluation.classes import dataset_ids, names_by_dataset_id
from fcclip.evaluation.metrics.panoptic_quality import (
    PanopticInputError,
    PanopticQuality,
    Quality,
    count_image,
    image_quality,
)
from fcclip.evaluation.panoptic_export import PanopticExport
from fcclip.files.panoptic import read_panoptic_json, read_panoptic_png


class PanopticEvaluator(ImageEvaluator):
    """PQ, SQ and RQ of `panoptic_seg`, under the keys of Detectron2's COCOPanopticEvaluator.

    The numbers are those of the COCO panoptic reference; no file is written unless `export` is given.

    Args:
        dataset_name: its metadata has `panoptic_json`, `panoptic_root` and both maps from dataset to contiguous ids.
        unseen: contiguous ids of classes not seen in training; adds PQ_seen and PQ_unseen.
        export: where to write predictions in the COCO panoptic format and whether panopticapi scores these, or None.

    Raises:
        FileNotFoundError: the ground-truth JSON does not exist.
    """

    name = "panoptic"

    def __init__(self, dataset_name: str, unseen: Collection[int] = (), export: PanopticExport | None = None) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        self._truth = read_panoptic_json(metadata.panoptic_json)
        self._truth_json, self._truth_folder = Path(metadata.panoptic_json), Path(metadata.panoptic_root)
        self._dataset_ids = {things: dataset_ids(metadata, things) for things in (True, False)}
        names = names_by_dataset_id(metadata)
        self._names = {id_: names.get(id_, category["name"]) for id_, category in self._truth.categories.items()}
        either = self._dataset_ids[False] | self._dataset_ids[True]
        self._unseen = {either[contiguous] for contiguous in unseen}
        self._export = export
        self.reset()

    def reset(self) -> None:
        self._quality = PanopticQuality(self._truth.categories)
        self._annotations: list[dict[str, Any]] = []

    def truth_files(self, records: Sequence[Mapping[str, Any]]) -> Iterable[str | Path]:
        known = (self._truth.annotations.get(record["image_id"]) for record in records)
        return [self._truth_json, *(self._truth_folder / truth["file_name"] for truth in known if truth)]

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Match the segments of one image; `record` needs `image_id`.

        Raises:
            ValueError: the output has no panoptic result, or it does not fit the ground truth; names the image.
        """
        truth = self._annotation(record)
        true_ids = read_panoptic_png(self._truth_folder / truth["file_name"])
        try:
            ids, segments = self._prediction(output)
            counts = count_image(true_ids, truth["segments_info"], ids, segments, self._truth.categories)
        except PanopticInputError as error:
            raise PanopticInputError(f"image {record['image_id']!r}: {error}") from error
        statistics: ImageStatistics = {"counts": counts}
        if self._export is not None:
            statistics["annotation"] = self._export.write_image(truth, ids, segments)
        return statistics

    def add(self, statistics: ImageStatistics) -> None:
        self._quality.add(statistics["counts"])
        if "annotation" in statistics:
            self._annotations.append(statistics["annotation"])

    def state(self) -> tuple[np.ndarray, list[dict[str, Any]]]:
        return self._quality.counts, self._annotations

    def merge(self, state: tuple[np.ndarray, list[dict[str, Any]]]) -> None:
        self._quality.counts += state[0]
        self._annotations += state[1]

    def score(self, statistics: ImageStatistics) -> float | None:
        return image_quality(statistics["counts"])

    def compare(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> Comparison:
        truth = self._annotation(record)
        ids, segments = self._prediction(output)
        true_ids = read_panoptic_png(self._truth_folder / truth["file_name"])
        return Comparison(self._classes(true_ids, truth["segments_info"]), self._classes(ids, segments), true_ids, ids)

    def results(self) -> Results:
        quality = self._quality
        groups = {"": None, "_th": quality.things(), "_st": quality.things(False)}
        if self._unseen:
            groups["_seen"] = [id_ for id_ in self._truth.categories if id_ not in self._unseen]
            groups["_unseen"] = [id_ for id_ in self._truth.categories if id_ in self._unseen]
        averages = {suffix: quality.quality(ids) for suffix, ids in groups.items()}
        if self._export is not None:
            self._export.write_json(self._annotations, self._truth)
            averages |= self._export.rescore(self._truth_json, self._truth_folder)
        values = {f"{key}{suffix}": value for suffix, group in averages.items() for key, value in _percent(group)}
        for category, class_quality in quality.per_class().items():
            values |= {f"{key}-{self._names[category]}": value for key, value in _percent(class_quality)}
        return {"panoptic_seg": values}

    def _annotation(self, record: Mapping[str, Any]) -> dict[str, Any]:
        truth = self._truth.annotations.get(record["image_id"])
        if truth is None:
            raise ValueError(f"{self._truth_json} has no annotation of image {record['image_id']!r}")
        return truth

    def _prediction(self, output: Mapping[str, Any]) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """The predicted (H, W) ids and their segments, with dataset ids of classes."""
        predicted_map, segments = require_output(output, "panoptic_seg", "PANOPTIC_ON")
        if not all(map(math.isfinite, output.get("panoptic_scores") or ())):
            raise PanopticInputError(f"the scores of the model's segments are NaN or infinite; {NAN_ADVICE}")
        ids = np.asarray(predicted_map.cpu() if hasattr(predicted_map, "cpu") else predicted_map)
        return ids, [self._with_dataset_id(segment) for segment in segments]

    def _classes(self, ids: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """(H, W) int32 contiguous classes of a map of segments, -1 where there is none."""
        contiguous = {dataset_id: id_ for known in self._dataset_ids.values() for id_, dataset_id in known.items()}
        values, positions = np.unique(ids, return_inverse=True)
        class_of = {segment["id"]: contiguous[segment["category_id"]] for segment in segments}
        classes = np.array([class_of.get(value, -1) for value in values.tolist()], dtype=np.int32)
        return classes[positions.reshape(ids.shape)]

    def _with_dataset_id(self, segment: Mapping[str, Any]) -> dict[str, Any]:
        """As in Detectron2, a segment without `isthing` has a dataset id already."""
        if segment.get("isthing") is None:
            return {"id": segment["id"], "category_id": segment["category_id"]}
        known = self._dataset_ids[bool(segment["isthing"])]
        if segment["category_id"] not in known:
            kind = "thing" if segment["isthing"] else "stuff"
            raise ValueError(
                f"the model predicted {kind} class {segment['category_id']}, which {self._truth_json} does not have; "
                "was the model given this dataset's vocabulary?"
            )
        return {"id": segment["id"], "category_id": known[segment["category_id"]]}


def _percent(quality: Quality) -> Sequence[tuple[str, float]]:
    return [("PQ", 100 * quality.pq), ("SQ", 100 * quality.sq), ("RQ", 100 * quality.rq)]
