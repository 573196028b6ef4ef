"""Instance evaluation: average precision of masks and boxes, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import MetadataCatalog
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcclip.evaluation.base import ImageEvaluator, ImageStatistics, Results, require_output
from fcclip.evaluation.classes import dataset_ids, names_by_dataset_id
from fcclip.evaluation.detections import Detection, encode_instances
from fcclip.files.atomic import write_json

logger = logging.getLogger(__name__)

TASKS = ("bbox", "segm")
# Position of each metric in COCOeval's summary.
_SUMMARY = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5}


class InstanceSegEvaluator(ImageEvaluator):
    """COCO average precision of `instances`, under the keys of Detectron2's COCOEvaluator.

    Contiguous ids of things need not be 0..n-1: only those in the dataset's map from dataset ids are accepted.

    Args:
        dataset_name: its metadata has `json_file` (COCO instance annotations) and `thing_dataset_id_to_contiguous_id`.
        output_dir: a folder for `coco_instances_results.json`, the detections in COCO's format; None to write none.

    Raises:
        ValueError: the dataset has no instance annotations.
        FileNotFoundError: the file of annotations does not exist.
    """

    name = "instances"

    def __init__(self, dataset_name: str, output_dir: str | Path | None = None) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        self._output_dir = output_dir
        self._coco = load_coco(metadata.get("json_file"), dataset_name)
        self._dataset_ids = dataset_ids(metadata, things=True)
        names = names_by_dataset_id(metadata)
        self._names = {id_: names.get(id_, category["name"]) for id_, category in self._coco.cats.items()}
        self.reset()

    def reset(self) -> None:
        self._detections: list[Detection] = []
        self._image_ids: list[int | str] = []

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Encode the instances of one image; `record` needs `image_id`.

        Raises:
            ValueError: the output has no instances, one of them has a class that is no thing of the dataset, or the
                annotations do not know the image.
        """
        image_id = record["image_id"]
        if image_id not in self._coco.imgs:
            raise ValueError(f"the instance annotations do not know image {image_id!r}")
        detections = encode_instances(require_output(output, "instances", "INSTANCE_ON"), image_id)
        for detection in detections:
            category = self._dataset_ids.get(detection["category_id"])
            if category is None:
                raise ValueError(
                    f"image {image_id!r}: the model predicted class {detection['category_id']}, which is no thing of "
                    "the dataset; was the model given this dataset's vocabulary?"
                )
            detection["category_id"] = category
        return {"image_id": image_id, "detections": detections}

    def add(self, statistics: ImageStatistics) -> None:
        self._image_ids.append(statistics["image_id"])
        self._detections += statistics["detections"]

    def state(self) -> tuple[list[int | str], list[Detection]]:
        return self._image_ids, self._detections

    def merge(self, state: tuple[list[int | str], list[Detection]]) -> None:
        self._image_ids += state[0]
        self._detections += state[1]

    def results(self) -> Results:
        unseen_images = len(self._coco.imgs) - len(set(self._image_ids))
        if unseen_images:
            logger.warning("AP is that of %d images; %d more have annotations", len(self._image_ids), unseen_images)
        if self._output_dir is not None:
            write_json(Path(self._output_dir) / "coco_instances_results.json", self._detections)
        return {task: self._average_precision(task) for task in TASKS}

    def _average_precision(self, task: str) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            scorer = COCOeval(self._coco, as_results(self._coco, self._detections, task), task)
            scorer.params.imgIds = self._image_ids
            scorer.evaluate()
            scorer.accumulate()
            scorer.summarize()
        values = {key: _percent(scorer.stats[position]) for key, position in _SUMMARY.items()}
        # precision: (IoU thresholds, recalls, categories, area ranges, detection limits)
        precision = scorer.eval["precision"][:, :, :, 0, -1]
        for column, category in enumerate(scorer.params.catIds):
            values[f"AP-{self._names[category]}"] = mean_precision(precision[:, :, column])
        return values


def load_coco(json_file: str | None, dataset_name: str) -> COCO:
    """Read instance annotations in COCO's format.

    Raises:
        ValueError: the dataset has none.
        FileNotFoundError: the file does not exist.
    """
    if json_file is None:
        raise ValueError(
            f'dataset "{dataset_name}" has no instance annotations; set MODEL.MASK_FORMER.TEST.INSTANCE_ON False'
        )
    if not Path(json_file).is_file():
        raise FileNotFoundError(f"instance annotations {json_file} of {dataset_name} do not exist")
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(json_file)


def as_results(truth: COCO, detections: Sequence[Detection], task: str) -> COCO:
    """Index detections for COCOeval.

    The size classes of APs, APm and APl go by the area of the mask for "segm" and of the box for "bbox"; COCO's own
    `loadRes` takes the box wherever there is one, so it is only given what the task is about.
    """
    other = "bbox" if task == "segm" else "segmentation"
    if not detections:
        nothing = COCO()
        nothing.dataset = {"images": [], "categories": truth.dataset["categories"], "annotations": []}
        nothing.createIndex()
        return nothing
    return truth.loadRes([{key: value for key, value in d.items() if key != other} for d in detections])


def mean_precision(precision: np.ndarray) -> float:
    """Mean of the entries that are defined (not -1), 0 to 100; NaN if none is."""
    defined = precision[precision > -1]
    return float(100 * np.mean(defined)) if defined.size else float("nan")


def _percent(value: float) -> float:
    return float(100 * value) if value >= 0 else float("nan")
