"""Instance evaluation: average precision of masks and boxes, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as rle_codec
from detectron2.data import MetadataCatalog
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcclip.data.validation.instances import read_instances
from fcclip.evaluation.base import Comparison, ImageEvaluator, ImageStatistics, Results, require_output
from fcclip.evaluation.classes import dataset_ids, names_by_dataset_id
from fcclip.evaluation.detections import Detection, encode_instances
from fcclip.evaluation.metrics.average_precision import image_precision, mean_precision, percent
from fcclip.files.atomic import write_json

logger = logging.getLogger(__name__)

TASKS = ("bbox", "segm")
DETECTIONS_PER_CLASS = 100  # of one image that COCO's AP looks at
SHOWN_SCORE = 0.5  # least score of an instance in the pictures of the worst images
PREDICTIONS = "instance_predictions.json"
# Position of each metric in COCOeval's summary.
SUMMARY = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5}


class InstanceSegEvaluator(ImageEvaluator):
    """COCO average precision of `instances`, under the keys of Detectron2's COCOEvaluator.

    Contiguous ids of things need not be 0..n-1: only those in the dataset's map from dataset ids are accepted.

    Args:
        dataset_name: its metadata has `json_file` (COCO instance annotations) and `thing_dataset_id_to_contiguous_id`.
        output_dir: folder into which `instance_predictions.json`, COCO's format of results, is written; None: nowhere.

    Raises:
        ValueError: the dataset has no instance annotations.
        FileNotFoundError: the file of annotations does not exist.
    """

    name = "instances"

    def __init__(self, dataset_name: str, output_dir: str | Path | None = None) -> None:
        metadata = MetadataCatalog.get(dataset_name)
        self._output_dir = output_dir
        self._coco = load_coco(metadata.get("json_file"), dataset_name)
        self._json_file = str(metadata.json_file)
        self._dataset_ids = dataset_ids(metadata, things=True)
        self._contiguous = {id_: contiguous for contiguous, id_ in self._dataset_ids.items()}
        names = names_by_dataset_id(metadata)
        self._names = {id_: names.get(id_, category["name"]) for id_, category in self._coco.cats.items()}
        self.reset()

    def reset(self) -> None:
        self._detections: list[Detection] = []
        self._image_ids: list[int | str] = []

    def truth_files(self, records: Sequence[Mapping[str, Any]]) -> Iterable[str | Path]:
        return [self._json_file]

    def measure(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> ImageStatistics:
        """Encode the instances of one image; `record` needs `image_id`.

        Raises:
            ValueError: the output has no instances, a score of them is no number, one of them has a class that is no
                thing of the dataset, or the annotations do not know the image.
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

    def score(self, statistics: ImageStatistics) -> float | None:
        """AP at an IoU of 0.5, averaged over the classes in the image's ground truth; None for an image without any."""
        annotations = self._annotations(statistics["image_id"])
        precisions = []
        for category in {annotation["category_id"] for annotation in annotations if not annotation["iscrowd"]}:
            found = [d for d in statistics["detections"] if d["category_id"] == category]
            found.sort(key=lambda detection: -detection["score"])
            true = [annotation for annotation in annotations if annotation["category_id"] == category]
            precisions.append(self._precision(found, true))
        return float(np.mean(precisions)) if precisions else None

    def _precision(self, found: Sequence[Detection], true: Sequence[Mapping[str, Any]]) -> float:
        """AP at an IoU of 0.5 of one class in one image; what lies in a crowd is neither right nor wrong."""
        crowd = np.array([bool(annotation["iscrowd"]) for annotation in true])
        masks = [self._coco.annToRLE(annotation) for annotation in true]
        iou = rle_codec.iou([d["segmentation"] for d in found], masks, crowd.astype(int).tolist()) if found else []
        iou = np.reshape(iou, (len(found), len(masks)))
        excused = (iou[:, crowd] >= 0.5).any(axis=1) & ~(iou[:, ~crowd] >= 0.5).any(axis=1)
        return image_precision(iou[~excused][:, ~crowd])

    def compare(self, record: Mapping[str, Any], output: Mapping[str, Any]) -> Comparison:
        annotations = self._annotations(record["image_id"])
        instances = require_output(output, "instances", "INSTANCE_ON")
        true = [(self._contiguous[a["category_id"]], self._coco.annToMask(a) > 0) for a in annotations]
        order = instances.scores.argsort().tolist()  # the surest is painted last
        predicted = [
            (int(instances.pred_classes[index]), (instances.pred_masks[index] != 0).cpu().numpy())
            for index in order
            if instances.scores[index] >= SHOWN_SCORE
        ]
        size = tuple(instances.image_size)
        return Comparison(*(paint_masks(side, size)[part] for part in (0, 1) for side in (true, predicted)))

    def results(self) -> Results:
        unseen_images = len(self._coco.imgs) - len(set(self._image_ids))
        if unseen_images:
            logger.warning("AP is that of %d images; %d more have annotations", len(self._image_ids), unseen_images)
        if self._output_dir is not None:
            write_json(Path(self._output_dir) / PREDICTIONS, self._detections)
        self._warn_of_crowded_images()
        return {task: self._average_precision(task) for task in TASKS}

    def _annotations(self, image_id: int | str) -> list[dict[str, Any]]:
        return list(self._coco.imgToAnns.get(image_id, ()))

    def _warn_of_crowded_images(self) -> None:
        """Say where COCO's limit keeps AP below 100 whatever the model finds."""
        counts = Counter((a["image_id"], a["category_id"]) for a in self._coco.anns.values() if not a["iscrowd"])
        crowded = {image_id: count for (image_id, _), count in counts.items() if count > DETECTIONS_PER_CLASS}
        if crowded:
            image_id, count = max(crowded.items(), key=lambda item: item[1])
            logger.warning(
                "%d images have more than %d objects of one class (image %r has %d); COCO's AP looks at the %d surest "
                "detections of a class in an image, so it cannot reach 100 here",
                len(crowded),
                DETECTIONS_PER_CLASS,
                image_id,
                count,
                DETECTIONS_PER_CLASS,
            )

    def _average_precision(self, task: str) -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            scorer = COCOeval(self._coco, as_results(self._coco, self._detections, task), task)
            scorer.params.imgIds = self._image_ids
            scorer.evaluate()
            scorer.accumulate()
            scorer.summarize()
        values = {key: percent(scorer.stats[position]) for key, position in SUMMARY.items()}
        # precision: (IoU thresholds, recalls, categories, area ranges, detection limits)
        precision = scorer.eval["precision"][:, :, :, 0, -1]
        for column, category in enumerate(scorer.params.catIds):
            values[f"AP-{self._names[category]}"] = mean_precision(precision[:, :, column])
        return values


def load_coco(json_file: str | None, dataset_name: str) -> COCO:
    """Read instance annotations in COCO's format, numbered from 1 and mended (see `read_instances`).

    Raises:
        ValueError: the dataset has none, or an annotation cannot be used; names file and annotation.
        FileNotFoundError: the file does not exist.
    """
    if json_file is None:
        raise ValueError(
            f'dataset "{dataset_name}" has no instance annotations; set MODEL.MASK_FORMER.TEST.INSTANCE_ON False'
        )
    if not Path(json_file).is_file():
        raise FileNotFoundError(f"instance annotations {json_file} of {dataset_name} do not exist")
    file = read_instances(json_file)
    file.findings.settle(dataset_name)
    coco = COCO()
    coco.dataset = file.as_coco()
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


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


def paint_masks(masks: Sequence[tuple[int, np.ndarray]], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two (H, W) int32 maps of (class, (H, W) bool mask) pairs: classes, -1 where there is none, and numbers from 1."""
    classes, numbers = np.full(size, -1, np.int32), np.zeros(size, np.int32)
    for number, (category, mask) in enumerate(masks, start=1):
        classes[mask], numbers[mask] = category, number
    return classes, numbers
