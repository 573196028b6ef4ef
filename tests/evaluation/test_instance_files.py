"""Instances in COCO's format of results: scored as the evaluator does, refused with one sentence."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fcclip.evaluation.instance import PREDICTIONS, InstanceSegEvaluator
from fcclip.evaluation.instance_files import score_instance_files
from tests.evaluation.catalog import Register
from tests.evaluation.instance_samples import coco_annotations, predictions, write_json
from tests.evaluation.panoptic_samples import synthetic


@pytest.fixture
def files(register: Register, tmp_path: Path) -> tuple[Path, Path, dict[str, Any]]:
    """Ground truth, predictions, and the evaluator's results."""
    truth = synthetic(0)
    content = coco_annotations(truth)
    contiguous = {category["id"]: index for index, category in enumerate(content["categories"])}
    truth_json = write_json(tmp_path / "instances.json", content)
    name = register(
        [],
        json_file=truth_json,
        thing_classes=[category["name"] for category in content["categories"]],
        thing_dataset_id_to_contiguous_id=contiguous,
    )
    evaluator = InstanceSegEvaluator(name, tmp_path)
    for picture, output in zip(truth.pictures, predictions(truth, contiguous, 0), strict=True):
        evaluator.process([{"image_id": picture.image_id, "file_name": "x"}], [{"instances": output}])
    return Path(truth_json), tmp_path / PREDICTIONS, evaluator.evaluate()


def test_scores_are_those_of_the_evaluator(files):
    truth, written, expected = files
    report = score_instance_files(truth, written)
    for task in ("segm", "bbox"):
        for metric, value in report[task].items():
            assert (math.nan if value is None else value) == pytest.approx(expected[task][metric], nan_ok=True)
        for values in report["per_class"].values():
            own = expected[task][f"AP-{values['name']}"]
            assert (math.nan if values[f"{task}.AP"] is None else values[f"{task}.AP"]) == pytest.approx(
                own, nan_ok=True
            )


def test_without_boxes_masks_are_scored(files):
    truth, written, _ = files
    records = [
        {key: value for key, value in record.items() if key != "bbox"} for record in json.loads(written.read_text())
    ]
    written.write_text(json.dumps(records))
    report = score_instance_files(truth, written)
    assert "bbox" not in report
    assert report["segm"]["AP"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, "record 0 has image_id 99, which the ground truth does not have"),
        ({"image_id": [1]}, r"record 0 has image_id \[1\]"),
        ({"category_id": 77}, "record 0 has category_id 77, which"),
        ({"score": float("nan")}, "record 0 has score nan; it must be a finite number"),
        ({"score": "high"}, "record 0 has score 'high'"),
        ({"segmentation": []}, "record 0 has a box but no mask"),
        ({"score": ...}, "record 0 lacks one of image_id, category_id, score, segmentation"),
    ],
)
def test_records_that_do_not_fit_are_named(files, change, message):
    truth, written, _ = files
    records = json.loads(written.read_text())
    records[0] = {key: value for key, value in {**records[0], **change}.items() if value is not ...}
    written.write_text(json.dumps(records))
    with pytest.raises(ValueError, match=message):
        score_instance_files(truth, written)


@pytest.mark.parametrize(("text", "message"), [("[", "is not a JSON file"), ("{}", "holds no list of instances")])
def test_other_files_are_refused(files, text, message):
    truth, written, _ = files
    written.write_text(text)
    with pytest.raises(ValueError, match=message):
        score_instance_files(truth, written)
    written.unlink()
    with pytest.raises(FileNotFoundError, match="do not exist"):
        score_instance_files(truth, written)
