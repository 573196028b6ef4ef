"""Semantic metrics: both conventions, splits, label files and bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcclip.evaluation.label_maps import to_label_map
from fcclip.evaluation.metrics.semantic import (
    add_pairs,
    class_scores,
    compare_label_maps,
    harmonic_mean,
    semantic_metrics,
)
from fcclip.evaluation.semantic import SemanticEvaluator
from fcclip.files.images import LabelMapError, read_label_map
from tests.evaluation.catalog import Register
from tests.shared import SHARED, needs_shared

REFERENCE = SHARED / "parity" / "zegclip_cascade"


def confusion_of(predicted: np.ndarray, true: np.ndarray, classes: int, ignore_label: int = 255) -> np.ndarray:
    confusion = np.zeros((classes + 1, classes), np.int64)
    add_pairs(confusion, compare_label_maps(predicted, true, classes, ignore_label))
    return confusion


def test_both_conventions_by_hand():
    # Class 2 is predicted but absent; class 3 is neither.
    true = np.array([[0, 0, 0, 0, 1, 1, 255]])
    predicted = np.array([[0, 0, 0, 1, 1, 2, 3]])
    metrics = semantic_metrics(confusion_of(predicted, true, 4))
    iou = [3 / 4, 1 / 3]
    assert metrics["mIoU"] == pytest.approx(100 * sum(iou) / 2)
    assert metrics["mIoU_absent_as_zero"] == pytest.approx(100 * sum(iou) / 3)
    assert metrics["fwIoU"] == pytest.approx(100 * (iou[0] * 4 + iou[1] * 2) / 6)
    assert metrics["mACC"] == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    assert metrics["pACC"] == pytest.approx(100 * 4 / 6)


@pytest.mark.parametrize("whose", ["prediction", "ground truth"])
def test_labels_below_zero_are_told(whose: str):
    good, bad = np.zeros((2, 2), np.int16), np.array([[0, 0], [-3, 0]], np.int16)
    pair = (bad, good) if whose == "prediction" else (good, bad)
    with pytest.raises(LabelMapError, match=f"the {whose} has label -3; labels start at 0"):
        compare_label_maps(*pair, 4, 255)


def test_detectron2_evaluator_of_2021_gives_the_other_convention(register: Register, tmp_path: Path):
    from detectron2.evaluation import SemSegEvaluator

    generator = np.random.default_rng(0)
    true, scores = generator.integers(0, 5, (9, 11)).astype(np.uint8), torch.rand(7, 9, 11)
    true[0] = 255
    Image.fromarray(true).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / "a.png")}
    name = register([record], stuff_classes=[f"c{k},x{k}" for k in range(7)], ignore_label=255)
    theirs, ours = SemSegEvaluator(name, distributed=False), SemanticEvaluator(name)
    for evaluator in (theirs, ours):
        evaluator.reset()
        evaluator.process([record], [{"sem_seg": scores}])
    expected, values = theirs.evaluate()["sem_seg"], ours.evaluate()["sem_seg"]
    zeros = expected["mIoU"] == pytest.approx(values["mIoU_absent_as_zero"])
    left_out = expected["mIoU"] == pytest.approx(values["mIoU"])
    assert zeros or left_out  # the former with Detectron2 v0.6, the latter with its main branch
    assert values["mIoU"] > values["mIoU_absent_as_zero"]
    for key in ("fwIoU", "mACC", "pACC"):
        assert values[key] == pytest.approx(expected[key])
    for k in range(5):
        assert values[f"IoU-c{k}"] == pytest.approx(expected[f"IoU-c{k},x{k}"])
    assert np.isnan(values["IoU-c6"])


@needs_shared
def test_recorded_zero_shot_metrics():
    reference = json.loads((REFERENCE / "metrics_reference.json").read_text())["eval_results"]
    arrays = np.load(REFERENCE / "metrics_inputs.npz")
    raw = arrays["gt_raw"].astype(np.int64)
    true = np.where((raw == 0) | (raw == 255), 255, raw - 1)
    confusion = confusion_of(arrays["pred"], true, 20)
    metrics = semantic_metrics(confusion, unseen=range(15, 20))
    assert metrics["mIoU_absent_as_zero"] == pytest.approx(100 * reference["mIoU"], abs=0.005)
    assert metrics["pACC"] == pytest.approx(100 * reference["aAcc"], abs=0.005)
    assert metrics["mACC"] == pytest.approx(100 * reference["mAcc"], abs=0.005)
    per_class = [100 * value for key, value in reference.items() if key.startswith("IoU.")]
    iou = np.nan_to_num(class_scores(confusion)[0])
    assert iou == pytest.approx(per_class, abs=0.0051)
    seen, unseen = np.mean(per_class[:15]), np.mean(per_class[15:])
    assert metrics["mIoU_seen_absent_as_zero"] == pytest.approx(seen, abs=0.005)
    assert metrics["mIoU_unseen_absent_as_zero"] == pytest.approx(unseen, abs=0.005)
    assert metrics["hIoU_absent_as_zero"] == pytest.approx(2 * seen * unseen / (seen + unseen), abs=0.005)


def test_averages_equal_an_independent_implementation():
    semantic = pytest.importorskip("hotcoco.semantic")
    generator = np.random.default_rng(1)
    true = generator.choice([0, 1, 2, 5, 255], (30, 40)).astype(np.int64)
    predicted = generator.integers(0, 7, (30, 40))
    scorer = semantic.SemanticEval(8)
    scorer.update(true, predicted)
    expected = scorer.report()["metrics"]
    metrics = semantic_metrics(confusion_of(predicted, true, 8))
    assert metrics["mIoU_absent_as_zero"] / 100 == pytest.approx(expected["mIoU"], abs=1e-9)
    assert metrics["fwIoU"] / 100 == pytest.approx(expected["fwIoU"], abs=1e-9)


def test_harmonic_mean():
    assert harmonic_mean(60.0, 30.0) == pytest.approx(40.0)
    assert harmonic_mean(0.0, 0.0) == 0.0
    assert np.isnan(harmonic_mean(float("nan"), 30.0))


@pytest.mark.parametrize(
    ("classes", "ignore", "dtype", "suffix"), [(847, 65535, np.uint16, "tif"), (65, 65, np.uint8, "png")]
)
def test_many_classes_and_other_ignore_labels(register: Register, tmp_path: Path, classes, ignore, dtype, suffix):
    true = np.full((4, 4), classes - 1, dtype)
    true[0] = ignore
    Image.fromarray(true).save(tmp_path / f"a.{suffix}")
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / f"a.{suffix}")}
    name = register([record], stuff_classes=[f"c{k}" for k in range(classes)], ignore_label=ignore)
    evaluator = SemanticEvaluator(name)
    predicted = torch.full((4, 4), classes - 1)
    predicted[1] = 0
    evaluator.process([{"file_name": "a.jpg"}], [{"sem_seg": predicted}])  # the label file comes from the dataset
    values = evaluator.evaluate()["sem_seg"]
    assert values["pACC"] == pytest.approx(100 * 8 / 12)
    assert values["mIoU"] == pytest.approx(100 * 8 / 12)
    assert values["mIoU_absent_as_zero"] == pytest.approx(50 * 8 / 12)


def test_palette_images_are_read_as_indices(tmp_path: Path):
    image = Image.fromarray(np.array([[3, 1]], np.uint8)).convert("P")
    image.putdata([3, 1])
    image.save(tmp_path / "p.png")
    assert read_label_map(tmp_path / "p.png").tolist() == [[3, 1]]


def test_pixels_without_a_predicted_class_are_wrong():
    confusion = confusion_of(np.array([[255, 0, 0]]), np.array([[0, 0, 255]]), 2)
    assert semantic_metrics(confusion)["pACC"] == 50.0


def test_merged_halves_equal_the_whole(register: Register, tmp_path: Path):
    generator = np.random.default_rng(2)
    records, outputs = [], []
    for index in range(4):
        path = tmp_path / f"{index}.png"
        Image.fromarray(generator.integers(0, 6, (8, 8)).astype(np.uint8)).save(path)
        records.append({"file_name": f"{index}.jpg", "sem_seg_file_name": str(path)})
        outputs.append({"sem_seg": torch.from_numpy(generator.integers(0, 6, (8, 8)))})
    name = register(records, stuff_classes=list("abcdef"), ignore_label=255, unseen_classes=[4])
    whole, first, second = (SemanticEvaluator(name, [4]) for _ in range(3))
    whole.process(records, outputs)
    first.process(records[:1], outputs[:1])
    second.process(records[1:], outputs[1:])
    first.merge(second.state())
    assert first.results() == whole.results()
    assert {"mIoU_seen", "mIoU_unseen", "hIoU", "hIoU_absent_as_zero"} <= whole.results()["sem_seg"].keys()


def test_image_score_is_the_mean_iou_of_its_classes(register: Register, tmp_path: Path):
    Image.fromarray(np.array([[0, 0, 1, 255]], np.uint8)).save(tmp_path / "a.png")
    record = {"file_name": "a.jpg", "sem_seg_file_name": str(tmp_path / "a.png")}
    evaluator = SemanticEvaluator(register([record], stuff_classes=["a", "b", "c"], ignore_label=255))
    statistics = evaluator.measure(record, {"sem_seg": torch.tensor([[0, 2, 1, 1]])})
    assert json.loads(json.dumps(statistics)) == statistics
    assert evaluator.score(statistics) == pytest.approx((1 / 2 + 1 + 0) / 3)


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 2), int), r"the prediction has \(2, 3\) pixels"),
        (np.full((2, 2), 4), np.zeros((2, 2), int), "the prediction has label 4, but there are 4 classes"),
        (np.zeros((2, 2), int), np.full((2, 2), 9), "the ground truth has label 9, but there are 4 classes"),
        (np.full((2, 2), -1), np.zeros((2, 2), int), "the prediction has label -1"),
    ],
)
def test_maps_that_do_not_fit(predicted, true, message):
    with pytest.raises(LabelMapError, match=message):
        compare_label_maps(predicted, true, 4, 255)


def test_predictions_of_a_wrong_shape():
    with pytest.raises(LabelMapError, match="scores of 3 classes, the dataset has 4"):
        to_label_map(torch.zeros(3, 2, 2), 4)
    with pytest.raises(LabelMapError, match="expected scores"):
        to_label_map(torch.zeros(2, 2), 4)
    assert to_label_map(torch.eye(3)[:, None], 3).tolist() == [[0, 1, 2]]


def test_unreadable_label_files(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_label_map(tmp_path / "no.png")
    Image.new("RGB", (2, 2)).save(tmp_path / "rgb.png")
    with pytest.raises(LabelMapError, match="a label map has one integer per pixel"):
        read_label_map(tmp_path / "rgb.png")


def test_missing_output_names_the_switch(register: Register):
    evaluator = SemanticEvaluator(register([], stuff_classes=["a"], ignore_label=255))
    with pytest.raises(ValueError, match="SEMANTIC_ON True"):
        evaluator.measure({"file_name": "a.jpg", "sem_seg_file_name": "a.png"}, {})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_never_class_0(value: float):
    scores = torch.zeros(3, 2, 2)
    scores[1, 0, 0] = value
    with pytest.raises(LabelMapError, match="semantic scores of the model are NaN or infinite; its weights"):
        to_label_map(scores, 3)
