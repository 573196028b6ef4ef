"""Average precision through pycocotools: ids that are not contiguous, real boxes, bad input."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.evaluation import COCOEvaluator
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fcclip.evaluation.detections import encode_instances, encode_mask
from fcclip.evaluation.instance import InstanceSegEvaluator
from fcclip.evaluation.metrics.average_precision import image_precision
from tests.evaluation.catalog import Register
from tests.evaluation.instance_samples import coco_annotations, predictions, rle, write_json
from tests.evaluation.panoptic_samples import PanopticSet, Picture, published, synthetic
from tests.shared import needs_shared

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def registered(
    truth: PanopticSet, folder: Path, register: Register, compact: bool = False
) -> tuple[str, dict[int, int]]:
    """Register the things of `truth`; contiguous ids have gaps unless `compact`. Returns the name and the id map."""
    content = coco_annotations(truth)
    step = 1 if compact else 3
    contiguous = {category["id"]: step * index for index, category in enumerate(content["categories"])}
    names = [f"thing{index}" for index in range(step * len(contiguous))]
    name = register(
        [],
        json_file=write_json(folder / "instances.json", content),
        thing_classes=names,
        thing_dataset_id_to_contiguous_id=contiguous,
    )
    return name, contiguous


def run(evaluator: Any, truth: PanopticSet, outputs: list[Instances]) -> dict[str, dict[str, float]]:
    evaluator.reset()
    records = [{"image_id": picture.image_id, "file_name": "x"} for picture in truth.pictures]
    evaluator.process(records, [{"instances": output} for output in outputs])
    return evaluator.evaluate()


@pytest.mark.parametrize("seed", range(3))
def test_equals_detectron2_and_pycocotools_on_synthetic_sets(register: Register, tmp_path: Path, seed: int):
    truth = synthetic(seed, images=6)
    name, contiguous = registered(truth, tmp_path, register, compact=True)
    outputs = predictions(truth, contiguous, seed)
    ours = run(InstanceSegEvaluator(name), truth, outputs)
    theirs = run(COCOEvaluator(name, tasks=("bbox", "segm"), distributed=False, use_fast_impl=False), truth, outputs)
    assert 0 < ours["segm"]["AP"] < 100
    for task in ("bbox", "segm"):
        assert ours[task].keys() >= set(METRICS)
        for key in (*METRICS, "AP-thing0", "AP-thing1"):
            assert ours[task][key] == pytest.approx(theirs[task][key], abs=1e-9, nan_ok=True)


@needs_shared
def test_equals_pycocotools_on_the_published_sample(register: Register, tmp_path: Path):
    truth = published()
    name, contiguous = registered(truth, tmp_path, register)
    outputs = predictions(truth, contiguous, 0)
    ours = run(InstanceSegEvaluator(name), truth, outputs)
    dataset_ids = {value: key for key, value in contiguous.items()}
    detections = [
        {
            "image_id": picture.image_id,
            "category_id": dataset_ids[int(output.pred_classes[k])],
            "score": float(output.scores[k]),
            "segmentation": rle(output.pred_masks[k].numpy()),
        }
        for picture, output in zip(truth.pictures, outputs, strict=True)
        for k in range(len(output))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "instances.json"))
        scorer = COCOeval(coco, coco.loadRes(detections), "segm")
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    expected = [100 * value if value >= 0 else np.nan for value in scorer.stats[:6]]
    assert [ours["segm"][key] for key in METRICS] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert ours["bbox"]["AP"] > 0


@needs_shared
def test_ground_truth_against_itself_is_perfect(register: Register, tmp_path: Path):
    truth = published()
    name, contiguous = registered(truth, tmp_path, register)
    outputs = []
    for picture in truth.pictures:
        things = [s for s in picture.segments if s["category_id"] in contiguous and not s["iscrowd"]]
        masks = torch.from_numpy(np.stack([picture.ids == s["id"] for s in things]))
        classes = torch.tensor([contiguous[s["category_id"]] for s in things])
        scores = torch.ones(len(things))
        outputs.append(Instances(picture.ids.shape, pred_masks=masks, scores=scores, pred_classes=classes))
    values = run(InstanceSegEvaluator(name), truth, outputs)
    assert values["segm"]["AP"] == pytest.approx(100.0)
    assert values["bbox"]["AP"] == pytest.approx(100.0)  # boxes that are missing come from the masks


def test_no_detection_scores_zero(register: Register, tmp_path: Path):
    truth = synthetic(0)
    name, _ = registered(truth, tmp_path, register)
    size = truth.pictures[0].ids.shape
    nothing = Instances(
        size,
        pred_masks=torch.zeros(0, *size),
        pred_boxes=Boxes(torch.zeros(0, 4)),
        scores=torch.zeros(0),
        pred_classes=torch.zeros(0, dtype=torch.long),
    )
    values = run(InstanceSegEvaluator(name), truth, [nothing] * len(truth.pictures))
    assert values["segm"]["AP"] == values["bbox"]["AP"] == 0.0


def test_merged_parts_equal_the_whole(register: Register, tmp_path: Path):
    truth = synthetic(1, images=4)
    name, contiguous = registered(truth, tmp_path, register)
    outputs = predictions(truth, contiguous, 1)
    whole, first, second = (InstanceSegEvaluator(name) for _ in range(3))
    for index, (picture, output) in enumerate(zip(truth.pictures, outputs, strict=True)):
        statistics = whole.measure({"image_id": picture.image_id}, {"instances": output})
        stored = json.loads(json.dumps(statistics))
        whole.add(statistics)
        (first if index < 2 else second).add(stored)
    first.merge(second.state())
    for task, values in whole.results().items():
        assert first.results()[task] == pytest.approx(values, nan_ok=True)


def test_all_zero_boxes_are_taken_from_the_masks():
    mask = torch.zeros(1, 6, 8)
    mask[0, 1:3, 2:7] = 1
    instances = Instances(
        (6, 8),
        pred_masks=mask,
        pred_boxes=Boxes(torch.zeros(1, 4)),
        scores=torch.ones(1),
        pred_classes=torch.zeros(1, dtype=torch.long),
    )
    assert encode_instances(instances, 1)[0]["bbox"] == [2.0, 1.0, 5.0, 2.0]
    instances.pred_boxes = Boxes(torch.tensor([[1.0, 1.0, 4.0, 3.0]]))
    assert encode_instances(instances, 1)[0]["bbox"] == [1.0, 1.0, 3.0, 2.0]


@pytest.mark.parametrize("density", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (30, 1), (1, 30)])
def test_masks_are_encoded_as_pycocotools_does(shape, density: float):
    generator = np.random.default_rng(0)
    for _ in range(20):
        mask = generator.random(shape) < density
        assert encode_mask(mask) == rle(mask)


def test_errors(register: Register, tmp_path: Path):
    truth = synthetic(0)
    name, contiguous = registered(truth, tmp_path, register)
    evaluator = InstanceSegEvaluator(name)
    (output, *_) = predictions(truth, contiguous, 0)
    with pytest.raises(ValueError, match="do not know image 99"):
        evaluator.measure({"image_id": 99}, {"instances": output})
    output.pred_classes[0] = 1
    with pytest.raises(ValueError, match="predicted class 1, which is no thing"):
        evaluator.measure({"image_id": 1}, {"instances": output})
    with pytest.raises(ValueError, match="has no instance annotations"):
        InstanceSegEvaluator(register([], json_file=None))
    with pytest.raises(FileNotFoundError, match="do not exist"):
        InstanceSegEvaluator(register([], json_file=str(tmp_path / "none.json")))


@pytest.mark.parametrize("change", ["numbered from 0", "without area", "without iscrowd"])
def test_annotations_may_be_numbered_from_0_and_lack_what_can_be_counted(
    register: Register, tmp_path: Path, change: str
):
    truth = synthetic(0)
    name, contiguous = registered(truth, tmp_path, register)
    path = tmp_path / "instances.json"
    content = json.loads(path.read_text())
    for number, annotation in enumerate(content["annotations"]):
        if change == "numbered from 0":
            annotation["id"] = number
        else:
            del annotation[change.removeprefix("without ")]
    perfect = itself(truth, contiguous)
    expected = run(InstanceSegEvaluator(name), truth, perfect)
    path.write_text(json.dumps(content))
    found = run(InstanceSegEvaluator(name), truth, perfect)
    if change != "without iscrowd":  # a crowd is an object then
        assert found["segm"] == pytest.approx(expected["segm"], nan_ok=True)
    assert found["segm"]["AP"] == pytest.approx(100)


def itself(truth: PanopticSet, contiguous: dict[int, int]) -> list[Instances]:
    """The ground truth as a prediction."""
    outputs = []
    for picture in truth.pictures:
        things = [segment for segment in picture.segments if segment["category_id"] in contiguous]
        ids = torch.tensor([segment["id"] for segment in things])
        outputs.append(
            Instances(
                picture.ids.shape,
                pred_masks=torch.from_numpy(picture.ids) == ids[:, None, None],
                scores=torch.full((len(things),), 0.9),
                pred_classes=torch.tensor([contiguous[segment["category_id"]] for segment in things], dtype=torch.long),
            )
        )
    return outputs


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_named(register: Register, tmp_path: Path, value: float):
    truth = synthetic(0)
    name, contiguous = registered(truth, tmp_path, register)
    (output, *_) = itself(truth, contiguous)
    output.scores[0] = value
    with pytest.raises(ValueError, match="image 1: the scores of the model's instances are NaN or infinite; its"):
        InstanceSegEvaluator(name).measure({"image_id": 1}, {"instances": output})


def test_more_objects_than_cocos_limit_are_told(register: Register, tmp_path: Path, caplog):
    ids = np.arange(1, 301, dtype=np.int32).reshape(15, 20).repeat(8, axis=0).repeat(8, axis=1)
    segments = [{"id": number, "category_id": 1, "iscrowd": 0} for number in range(1, 301)]
    truth = PanopticSet([{"id": 1, "name": "cell", "isthing": 1}], [Picture(1, ids, segments)])
    name, contiguous = registered(truth, tmp_path, register)
    values = run(InstanceSegEvaluator(name), truth, itself(truth, contiguous))["segm"]
    assert values["AP"] == pytest.approx(33.66, abs=0.01)
    assert "1 images have more than 100 objects of one class (image 1 has 300)" in caplog.text


def test_an_image_is_scored_by_its_own_precision(register: Register, tmp_path: Path):
    truth = synthetic(0)
    name, contiguous = registered(truth, tmp_path, register)
    evaluator = InstanceSegEvaluator(name)
    for picture, perfect, other in zip(
        truth.pictures, itself(truth, contiguous), predictions(truth, contiguous, 0), strict=True
    ):
        record = {"image_id": picture.image_id}
        best, score = (evaluator.score(evaluator.measure(record, {"instances": x})) for x in (perfect, other))
        assert best in (1.0, None)
        assert score is None or 0 <= score <= 1
        comparison = evaluator.compare(record, {"instances": perfect})
        assert (comparison.true == comparison.predicted).all()
        assert ((comparison.true_segments > 0) == (comparison.true >= 0)).all()


@pytest.mark.parametrize(
    ("iou", "precision"),
    [
        ([[0.9], [0.8]], 1.0),  # the second one finds an object that is found already
        ([[0.1], [0.8]], 0.5),
        ([[0.9, 0.0], [0.2, 0.4], [0.0, 0.6]], (1 + 2 / 3) / 2),
        (np.zeros((0, 3)), 0.0),
    ],
)
def test_precision_of_an_image(iou, precision: float):
    assert image_precision(np.asarray(iou)) == pytest.approx(precision)
