"""Average precision of video instances: COCO's algorithm on tubes, computed by pycocotools.

Source: Yang et al., "Video Instance Segmentation", ICCV 2019, section 3.2; area ranges as in the published code.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as rle_codec
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcclip.data.validation.masks import MaskError, encode, mend_segmentation
from fcclip.evaluation.metrics.average_precision import mean_precision, percent

Rle = dict[str, Any]
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
SMALL, LARGE = 128**2, 256**2  # pixels, by the mean area of an object over the frames in which it is seen
BASE, NOVEL = (0, 1), (2, 3)  # LV-VIS: `partition` of its categories


class VideoInstancesError(ValueError):
    """Video instances that do not fit their file format or the ground truth."""


def video_average_precision(truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """AP and its relatives.

    Args:
        truth: the content of a YouTube-VIS JSON file: `videos`, `categories`, `annotations` with `segmentations` (per
            frame an RLE, polygons or None), `areas`, `iscrowd`.
        results: records with `video_id`, `category_id`, `score`, `segmentations` (per frame an RLE or None).

    Returns:
        Percent, NaN where undefined: `METRICS`; "AP-NAME" for each category; "APb" and "APn" (base and novel classes)
        where the categories have a `partition`, as those of LV-VIS do.

    Raises:
        VideoInstancesError: the ground truth has no annotations, a result names an unknown video or category, or the
            number of frames or the size of a mask does not fit the video.
    """
    if "annotations" not in truth or not truth.get("videos"):
        raise VideoInstancesError("the ground truth has no annotations; scores of this split come from its server only")
    videos = {video["id"]: video for video in truth["videos"]}
    categories = {category["id"]: category for category in truth["categories"]}
    records = [_tube(record, videos, categories) for record in results]
    scorer = _TubeEval(
        _index(truth, [_tube(a, videos, categories) for a in truth["annotations"]]), _index(truth, records)
    )
    with contextlib.redirect_stdout(io.StringIO()):
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    values = {name: percent(value) for name, value in zip(METRICS, scorer.stats, strict=True)}
    return values | _per_category(scorer, categories)


class _TubeEval(COCOeval):
    """pycocotools' matching, with the IoU of tubes and other area ranges."""

    def __init__(self, truth: COCO, results: COCO) -> None:
        super().__init__(truth, results, "bbox")  # "segm" would encode masks anew
        everything = 1e5**2
        self.params.areaRng = [[0, everything], [0, SMALL], [SMALL, LARGE], [LARGE, everything]]

    def computeIoU(self, imgId: Any, catId: Any) -> Any:
        true, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not true and not found:
            return []
        order = np.argsort([-record["score"] for record in found], kind="mergesort")[: self.params.maxDets[-1]]
        tubes = [found[row]["segmentations"] for row in order]
        return np.array([[tube_iou(tube, other["segmentations"]) for other in true] for tube in tubes])


def tube_iou(first: Sequence[Rle | None], second: Sequence[Rle | None]) -> float:
    """Sum of intersections over sum of unions of the masks of each frame; None is an empty mask."""
    intersection, union = 0.0, 0.0
    for a, b in zip(first, second, strict=True):
        if a and b:
            intersection += float(rle_codec.area(rle_codec.merge([a, b], intersect=True)))
            union += float(rle_codec.area(rle_codec.merge([a, b], intersect=False)))
        elif a or b:
            union += float(rle_codec.area(a or b))
    return intersection / union if union else 0.0


def _tube(record: Mapping[str, Any], videos: Mapping[Any, Any], categories: Mapping[Any, Any]) -> dict[str, Any]:
    """A record whose masks are compressed RLEs, as pycocotools takes it."""
    missing = {"video_id", "category_id", "segmentations"} - record.keys()
    if missing:
        raise VideoInstancesError(f"a video instance has no {', '.join(sorted(missing))}")
    video = videos.get(record["video_id"])
    if video is None:
        raise VideoInstancesError(f"a video instance is of video {record['video_id']!r}, which the ground truth lacks")
    if record["category_id"] not in categories:
        raise VideoInstancesError(
            f"a video instance has category {record['category_id']!r}, which the ground truth lacks"
        )
    frames = record["segmentations"]
    length = video.get("length", len(video.get("file_names", frames)))
    if len(frames) != length:
        raise VideoInstancesError(
            f"an instance of video {video['id']!r} has masks of {len(frames)} frames, the video has {length}"
        )
    masks = [_rle(mask, video["height"], video["width"]) for mask in frames]
    areas = record.get("areas") or [rle_codec.area(mask) if mask else None for mask in masks]
    seen = [float(area) for area in areas if area]
    return {
        "image_id": video["id"],
        "category_id": record["category_id"],
        "segmentations": masks,
        "area": float(np.mean(seen)) if seen else 0.0,
        "iscrowd": record.get("iscrowd", 0),
        "score": record.get("score", 0.0),
        "bbox": [0, 0, 0, 0],
    }


def _rle(mask: Any, height: int, width: int) -> Rle | None:
    if not mask:
        return None
    try:
        segmentation, _ = mend_segmentation(mask, (height, width))
    except MaskError as error:
        raise VideoInstancesError(f"an instance {error}") from None
    return encode(segmentation, (height, width)) if segmentation else None


def _index(truth: Mapping[str, Any], records: list[dict[str, Any]]) -> COCO:
    index = COCO()
    index.dataset = {
        "images": [{"id": video["id"]} for video in truth["videos"]],
        "categories": copy.deepcopy(truth["categories"]),
        "annotations": [{"id": number, **record} for number, record in enumerate(records, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        index.createIndex()
    return index


def _per_category(scorer: COCOeval, categories: Mapping[Any, Mapping[str, Any]]) -> dict[str, float]:
    """AP of each category, and of LV-VIS's two groups of them."""
    # precision: (IoU thresholds, recalls, categories, area ranges, detection limits)
    precision = {id_: scorer.eval["precision"][:, :, k, 0, -1] for k, id_ in enumerate(scorer.params.catIds)}
    values = {f"AP-{categories[id_]['name']}": mean_precision(table) for id_, table in precision.items()}
    if any("partition" in category for category in categories.values()):
        for name, group in (("APb", BASE), ("APn", NOVEL)):
            tables = [table for id_, table in precision.items() if categories[id_].get("partition") in group]
            values[name] = mean_precision(np.stack(tables)) if tables else float("nan")
    return values
