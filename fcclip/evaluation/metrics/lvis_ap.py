"""LVIS average precision: COCO's matching under LVIS's rules for federated annotations.

LVIS annotates every category in some images only. In an image, a category is scored only if it was annotated there or
is known to be absent (`neg_category_ids`); where not all its instances were annotated (`not_exhaustive_category_ids`),
a detection without a match is neither right nor wrong. An image has at most 300 detections, over all categories.

Source: Gupta, Dollár, Girshick, "LVIS", CVPR 2019, section 2.2, and https://github.com/lvis-dataset/lvis-api.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

Annotation = dict[str, Any]
Detection = dict[str, Any]
DETECTIONS_PER_IMAGE = 300


def top_detections(detections: Sequence[Detection], limit: int) -> list[Detection]:
    """The `limit` highest-scoring detections of each image; of equal scores the earlier."""
    by_image: dict[int | str, list[Detection]] = defaultdict(list)
    for detection in detections:
        by_image[detection["image_id"]].append(detection)
    return [
        detection
        for group in by_image.values()
        for detection in sorted(group, key=lambda detection: detection["score"], reverse=True)[:limit]
    ]


def federated_precision(
    truth: COCO, detections: Sequence[Detection], task: str, image_ids: Collection[int | str]
) -> np.ndarray:
    """Precision at each recall, category by category.

    Categories come one after the other, and for each only the images that have an annotation or a detection of it are
    visited: that is what makes 1203 categories on 20 000 images bearable in time and memory.

    Returns:
        (10 IoU thresholds, 101 recalls, categories, 4 area ranges: all, small, medium, large); -1 where undefined.
    """
    true = _by_category(a for a in truth.anns.values() if a["image_id"] in image_ids)
    predicted = _by_category(_scored(truth, detections))
    columns = []
    for category in truth.cats:
        scorer = _CategoryEval(truth, true[category], _with_areas(predicted[category], task), task, category)
        with contextlib.redirect_stdout(io.StringIO()):
            scorer.evaluate()
            scorer.accumulate()
        columns.append(scorer.eval["precision"][:, :, 0, :, 0])
    return np.stack(columns, axis=2)


def _scored(truth: COCO, detections: Sequence[Detection]) -> list[Detection]:
    """Detections of categories about which the image's annotations say something."""
    present = {(annotation["image_id"], annotation["category_id"]) for annotation in truth.anns.values()}
    absent = {(image_id, id_) for image_id, image in truth.imgs.items() for id_ in image["neg_category_ids"]}
    judged = present | absent
    return [d for d in detections if (d["image_id"], d["category_id"]) in judged]


def _with_areas(detections: Sequence[Detection], task: str) -> list[Annotation]:
    """Detections as COCOeval takes them; their size is that of the mask for "segm" and of the box for "bbox"."""
    records = []
    for number, detection in enumerate(detections, start=1):  # an id of 0 would mean "no match" to COCOeval
        width, height = detection["bbox"][2:]
        area = float(rle_codec.area(detection["segmentation"])) if task == "segm" else width * height
        records.append({**detection, "id": number, "area": area})
    return records


def _by_category(records: Iterable[Annotation]) -> dict[int, list[Annotation]]:
    groups: dict[int, list[Annotation]] = defaultdict(list)
    for record in records:
        groups[record["category_id"]].append(record)
    return groups


class _CategoryEval(COCOeval):
    """COCOeval of one category on the images that have something of it."""

    def __init__(
        self, truth: COCO, true: list[Annotation], predicted: list[Annotation], task: str, category: int
    ) -> None:
        super().__init__(iouType=task)
        self._truth, self._true, self._predicted = truth, true, predicted
        self.params.catIds = [category]
        self.params.imgIds = sorted({annotation["image_id"] for annotation in (*true, *predicted)})
        self.params.maxDets = [DETECTIONS_PER_IMAGE]

    def _prepare(self) -> None:
        self._gts, self._dts = self._index(self._true), self._index(self._predicted)

    def _index(self, records: list[Annotation]) -> dict[tuple[int | str, int], list[Annotation]]:
        """Records by image and category, as COCOeval looks them up, with masks run-length encoded."""
        index: dict[tuple[int | str, int], list[Annotation]] = defaultdict(list)
        for record in records:
            masks = {"segmentation": self._truth.annToRLE(record)} if self.params.iouType == "segm" else {}
            index[record["image_id"], record["category_id"]].append({"ignore": 0, **record, **masks})
        return index

    def evaluateImg(self, imgId: Any, catId: int, aRng: Any, maxDet: int) -> dict[str, Any] | None:
        matched: dict[str, Any] | None = super().evaluateImg(imgId, catId, aRng, maxDet)
        if matched is not None and catId in self._truth.imgs[imgId]["not_exhaustive_category_ids"]:
            matched["dtIgnore"] = matched["dtIgnore"] | (matched["dtMatches"] == 0)
        return matched
