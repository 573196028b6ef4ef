"""Score instances that lie on disk, of whatever model: COCO's format of results."""

from __future__ import annotations

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcclip.data.validation.masks import MaskError, encode, is_box, mend_segmentation
from fcclip.evaluation.instance import SUMMARY, TASKS, as_results, load_coco
from fcclip.evaluation.metrics.average_precision import mean_precision, percent
from fcclip.files.coco_json import is_id, require_described

FIELDS = ("image_id", "category_id", "score", "segmentation")


def score_instance_files(truth_json: Path, prediction_json: Path) -> dict[str, Any]:
    """COCO's average precision of masks and boxes.

    Args:
        truth_json: instance annotations in COCO's format.
        prediction_json: a list of records with `image_id`, `category_id`, `score` and `segmentation` (run lengths or
            polygons), and `bbox` for the AP of boxes, as `TEST.INSTANCE_EXPORT True` writes them.

    Returns:
        `segm` and, if the predictions have boxes, `bbox`: {"AP", "AP50", "AP75", "APs", "APm", "APl" (0 to 100, None
        where undefined)}; `per_class`: category id -> {"name", "segm.AP", "bbox.AP"}; `images`: their number.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not what it should be, or the predictions are for other images or categories.
    """
    truth = load_coco(str(truth_json), str(truth_json))
    require_described(truth.cats, truth_json, "name")
    predictions = read_instance_predictions(prediction_json, truth)
    tasks = [task for task in TASKS if task == "segm" or all("bbox" in record for record in predictions)]
    per_class: dict[str, dict[str, Any]] = {str(id_): {"name": c["name"]} for id_, c in truth.cats.items()}
    report: dict[str, Any] = {}
    for task in tasks:
        with contextlib.redirect_stdout(io.StringIO()):
            scorer = COCOeval(truth, as_results(truth, predictions, task), task)
            scorer.evaluate()
            scorer.accumulate()
            scorer.summarize()
        report[task] = {key: _defined(percent(scorer.stats[position])) for key, position in SUMMARY.items()}
        for column, category in enumerate(scorer.params.catIds):
            precision = mean_precision(scorer.eval["precision"][:, :, column, 0, -1])
            per_class[str(category)][f"{task}.AP"] = _defined(precision)
    return {**report, "per_class": per_class, "images": len(truth.imgs)}


def read_instance_predictions(path: Path, truth: COCO) -> list[dict[str, Any]]:
    """Read and check records of instances.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not such a file, or a record does not fit the ground truth; names the record.
    """
    if not path.is_file():
        raise FileNotFoundError(f"predictions {path} {'are not a file' if path.exists() else 'do not exist'}")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(records, list):
        raise ValueError(f"{path} holds no list of instances; COCO's format of results is a list of objects")
    checked = []
    for number, record in enumerate(records):
        try:
            checked.append(_checked(record, truth))
        except MaskError as error:
            raise ValueError(f"{path}: record {number} {error}") from None
    return checked


def _checked(record: Any, truth: COCO) -> dict[str, Any]:
    """A prediction as pycocotools takes it, its mask as run lengths; MaskError says what is wrong with it."""
    if not isinstance(record, dict) or any(field not in record for field in FIELDS):
        raise MaskError(f"lacks one of {', '.join(FIELDS)}")
    for field, known in (("image_id", truth.imgs), ("category_id", truth.cats)):
        if not is_id(record[field]) or record[field] not in known:
            raise MaskError(f"has {field} {record[field]!r}, which the ground truth does not have")
    score = record["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise MaskError(f"has score {score!r}; it must be a finite number")
    image = truth.imgs[record["image_id"]]
    size = (image["height"], image["width"])
    segmentation, _ = mend_segmentation(record["segmentation"], size)
    if not segmentation:
        raise MaskError("has no polygon with three points")
    if "bbox" in record and not is_box(record["bbox"], size):
        raise MaskError(f"has the bbox {record['bbox']!r}; it should be [x, y, width, height] in pixels")
    return {**record, "segmentation": encode(segmentation, size)}


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
