"""LVIS AP against an independent implementation of its federated rules."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcclip.evaluation.lvis import LvisEvaluator
from fcclip.evaluation.metrics.lvis_ap import top_detections
from tests.evaluation.catalog import Register
from tests.evaluation.instance_samples import coco_annotations, predictions, write_json
from tests.evaluation.panoptic_samples import PanopticSet, synthetic

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "APr", "APc", "APf")


def lvis_set(seed: int) -> tuple[PanopticSet, dict[str, Any]]:
    """A synthetic set whose things carry LVIS's fields."""
    truth = synthetic(seed, images=12, classes=14)
    content = coco_annotations(truth)
    generator = np.random.default_rng(seed)
    ids = [category["id"] for category in content["categories"]]
    for index, category in enumerate(content["categories"]):
        category["frequency"] = "rcf"[index % 3]
    for image in content["images"]:
        present = {a["category_id"] for a in content["annotations"] if a["image_id"] == image["id"]}
        image["neg_category_ids"] = [id_ for id_ in ids if id_ not in present and generator.random() < 0.4]
        image["not_exhaustive_category_ids"] = [id_ for id_ in sorted(present) if generator.random() < 0.5]
    for annotation in content["annotations"]:
        del annotation["iscrowd"]  # LVIS has none
    return truth, content


def evaluate(register: Register, path: Path, seed: int) -> tuple[LvisEvaluator, dict[str, dict[str, float]]]:
    truth, content = lvis_set(seed)
    contiguous = {category["id"]: index for index, category in enumerate(content["categories"])}
    name = register(
        [],
        json_file=write_json(path, content),
        thing_classes=[category["name"] for category in content["categories"]],
        thing_dataset_id_to_contiguous_id=contiguous,
    )
    evaluator = LvisEvaluator(name)
    outputs = predictions(truth, contiguous, seed)
    evaluator.process(
        [{"image_id": picture.image_id} for picture in truth.pictures], [{"instances": output} for output in outputs]
    )
    return evaluator, evaluator.evaluate()


@pytest.mark.parametrize("seed", range(4))
def test_equals_an_independent_implementation(register: Register, tmp_path: Path, seed: int):
    hotcoco = pytest.importorskip("hotcoco")
    evaluator, values = evaluate(register, tmp_path / "lvis.json", seed)
    truth = hotcoco.COCO(str(tmp_path / "lvis.json"))
    _, detections = evaluator.state()
    for task, other in (("segm", "bbox"), ("bbox", "segmentation")):
        results = [{key: value for key, value in d.items() if key != other} for d in detections]
        scorer = hotcoco.LVISeval(truth, truth.load_res(results), task)
        scorer.run()
        expected = {key: 100 * value if value >= 0 else np.nan for key, value in scorer.get_results().items()}
        assert values[task]["AP"] > 0
        for key in METRICS:
            assert values[task][key] == pytest.approx(expected[key], abs=1e-9, nan_ok=True), key


def test_only_so_many_detections_of_an_image_count():
    detections = [{"image_id": k % 2, "score": 0.5 if k < 4 else 0.9, "number": k} for k in range(6)]
    assert [d["number"] for d in top_detections(detections, 2)] == [4, 0, 5, 1]


def test_files_that_are_not_lvis(register: Register, tmp_path: Path):
    content = coco_annotations(synthetic(0))
    name = register(
        [],
        json_file=write_json(tmp_path / "coco.json", content),
        thing_classes=["a", "b", "c"],
        thing_dataset_id_to_contiguous_id={category["id"]: k for k, category in enumerate(content["categories"])},
    )
    with pytest.raises(ValueError, match="have no frequency, neg_category_ids, not_exhaustive_category_ids"):
        LvisEvaluator(name)
