"""The panoptic evaluator: keys, ids, splits, export and the reference scorer."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog

from fcclip.evaluation.files import score_panoptic_files
from fcclip.evaluation.metrics.panoptic_quality import PanopticInputError
from fcclip.evaluation.panoptic import PanopticEvaluator
from fcclip.evaluation.panoptic_export import PanopticExport
from tests.evaluation.catalog import Register
from tests.evaluation.panoptic_samples import unchanged
from tests.evaluation.world import Oracle, World, make_world


@pytest.fixture
def world(register: Register, tmp_path: Path) -> World:
    return make_world(register, tmp_path)


def outputs(world: World, **options) -> tuple[list, list]:
    records = DatasetCatalog.get(world.name)
    model = Oracle(world, **options).eval()
    model.vocabularies.append(world.name)
    samples = [
        {**r, "height": p.ids.shape[0], "width": p.ids.shape[1]}
        for r, p in zip(records, world.truth.pictures, strict=True)
    ]
    with torch.no_grad():
        return records, model(samples)


def test_keys_are_detectron2s_and_values_those_of_saved_files(world: World):
    evaluator = PanopticEvaluator(world.name, export=PanopticExport(world.folder / "export"))
    evaluator.process(*outputs(world))
    values = evaluator.evaluate()["panoptic_seg"]
    expected = score_panoptic_files(
        world.folder / "panoptic.json",
        world.folder / "panoptic",
        world.folder / "export" / "panoptic_predictions.json",
        world.folder / "export" / "panoptic_predictions",
    )
    for suffix, group in (("", "All"), ("_th", "Things"), ("_st", "Stuff")):
        for key in ("PQ", "SQ", "RQ"):
            assert values[key + suffix] == pytest.approx(expected[group][key], abs=1e-9)
    for category in expected["per_class"].values():
        assert values[f"PQ-{category['name']}"] == pytest.approx(
            np.nan if category["PQ"] is None else category["PQ"], nan_ok=True
        )


def test_seen_and_unseen_classes(world: World):
    evaluator = PanopticEvaluator(world.name, unseen=[0, 3])
    evaluator.process(*outputs(world))
    values = evaluator.evaluate()["panoptic_seg"]
    per_class = [values[f"PQ-class{k}"] for k in range(6)]
    assert values["PQ_unseen"] == pytest.approx(np.nanmean([per_class[0], per_class[3]]))
    assert values["PQ_seen"] == pytest.approx(np.nanmean([per_class[k] for k in (1, 2, 4, 5)]))


def test_stored_and_merged_parts_equal_the_whole(world: World):
    records, results = outputs(world)
    whole, first, second = (PanopticEvaluator(world.name) for _ in range(3))
    for index, (record, output) in enumerate(zip(records, results, strict=True)):
        statistics = whole.measure(record, output)
        whole.add(statistics)
        (first if index < 2 else second).add(json.loads(json.dumps(statistics)))
    first.merge(second.state())
    assert first.results()["panoptic_seg"] == pytest.approx(whole.results()["panoptic_seg"], nan_ok=True)


def test_segments_without_a_kind_have_dataset_ids(world: World):
    records, results = outputs(world)
    dataset_ids = {index: id_ for id_, index in world.contiguous.items()}
    plain, given = PanopticEvaluator(world.name), PanopticEvaluator(world.name)
    plain.process(records, results)
    for output in results:
        for segment in output["panoptic_seg"][1]:
            del segment["isthing"]
            segment["category_id"] = dataset_ids[segment["category_id"]]
    given.process(records, results)
    assert given.results()["panoptic_seg"] == pytest.approx(plain.results()["panoptic_seg"], nan_ok=True)


def test_comparison_shows_contiguous_classes(world: World):
    records, results = outputs(world, change=unchanged)
    comparison = PanopticEvaluator(world.name).compare(records[0], results[0])
    assert np.array_equal(comparison.true, comparison.predicted)
    assert set(np.unique(comparison.true).tolist()) <= {-1, 0, 1, 2, 3}
    assert np.array_equal(comparison.true == -1, world.truth.pictures[0].ids == 0)


def test_errors_name_the_image(world: World):
    (record, *_), (output, *_) = outputs(world)
    evaluator = PanopticEvaluator(world.name)
    with pytest.raises(ValueError, match="has no annotation of image 77"):
        evaluator.measure({**record, "image_id": 77}, output)
    with pytest.raises(ValueError, match="PANOPTIC_ON True"):
        evaluator.measure(record, {})
    ids, segments = output["panoptic_seg"]
    with pytest.raises(PanopticInputError, match="image 1: the prediction has"):
        evaluator.measure(record, {"panoptic_seg": (ids[1:], segments)})
    wrong = [{**segments[0], "isthing": True, "category_id": 0}]
    with pytest.raises(ValueError, match="predicted thing class 0, which .* does not have"):
        evaluator.measure(record, {"panoptic_seg": (ids, wrong)})


def test_panopticapi_scores_the_exported_files(world: World, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def pq_compute(gt_json_file, pred_json_file, gt_folder, pred_folder):
        calls.append(score_panoptic_files(Path(gt_json_file), Path(gt_folder), Path(pred_json_file), Path(pred_folder)))
        return {group: {"pq": 0.5, "sq": 0.6, "rq": 0.7, "n": 3} for group in ("All", "Things", "Stuff")}

    module = types.ModuleType("panopticapi.evaluation")
    module.pq_compute = pq_compute
    monkeypatch.setitem(sys.modules, "panopticapi", types.ModuleType("panopticapi"))
    monkeypatch.setitem(sys.modules, "panopticapi.evaluation", module)
    evaluator = PanopticEvaluator(world.name, export=PanopticExport(world.folder / "export", with_panopticapi=True))
    evaluator.process(*outputs(world))
    values = evaluator.evaluate()["panoptic_seg"]
    assert (values["PQ"], values["SQ_th"], values["RQ_st"]) == (50.0, 60.0, 70.0)
    assert calls[0]["images"] == 5


def test_panopticapi_that_is_not_installed_is_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "panopticapi.evaluation", None)
    with pytest.raises(RuntimeError, match="panopticapi, which is not installed"):
        PanopticExport(Path("nowhere"), with_panopticapi=True)
