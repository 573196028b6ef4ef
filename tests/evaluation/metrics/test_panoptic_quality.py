"""PQ against an independent implementation of the COCO reference, on published and synthetic segments."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcclip.evaluation.metrics.panoptic_quality import PanopticInputError, PanopticQuality, count_image, image_quality
from tests.evaluation.panoptic_samples import CHANGES, PanopticSet, Picture, merged, published, synthetic, unchanged
from tests.shared import needs_shared

panoptic_reference = pytest.importorskip("hotcoco.panoptic", reason="hotcoco is the independent scorer")


def quality_of(truth: PanopticSet, prediction: PanopticSet) -> PanopticQuality:
    categories = {category["id"]: category for category in truth.categories}
    quality = PanopticQuality(categories)
    for true, predicted in zip(truth.pictures, prediction.pictures, strict=True):
        quality.add(count_image(true.ids, true.segments, predicted.ids, predicted.segments, categories))
    return quality


def assert_equals_reference(truth: PanopticSet, prediction: PanopticSet, folder: Path) -> None:
    quality = quality_of(truth, prediction)
    scorer = panoptic_reference.PanopticEval(
        str(truth.write(folder / "truth")),
        str(prediction.write(folder / "prediction")),
        gt_folder=str(folder / "truth"),
        pred_folder=str(folder / "prediction"),
    )
    scorer.evaluate()
    expected: dict[str, Any] = scorer.results()
    for group, ids in (("All", None), ("Things", quality.things()), ("Stuff", quality.things(False))):
        ours = quality.quality(ids)
        assert ours.classes == expected[group]["n"]
        if ours.classes:
            wanted = [expected[group][key] for key in ("pq", "sq", "rq")]
            assert [ours.pq, ours.sq, ours.rq] == pytest.approx(wanted, abs=1e-9)
    for id_, row in zip(quality.categories, quality.counts, strict=True):
        theirs = next(value for key, value in expected["per_class"].items() if int(key) == id_)
        assert row[1:].tolist() == [theirs["tp"], theirs["fp"], theirs["fn"]]
        assert row[0] == pytest.approx(theirs["iou"], abs=1e-9)


@needs_shared
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_published_sample_equals_reference(change, tmp_path: Path):
    truth = published()
    assert_equals_reference(truth, truth.perturbed(change), tmp_path)


@needs_shared
def test_ground_truth_against_itself_is_perfect():
    truth = published()
    quality = quality_of(truth, truth).quality()
    assert (quality.pq, quality.sq, quality.rq) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_synthetic_sets_equal_reference(change, seed: int, tmp_path: Path):
    truth = synthetic(seed)
    assert_equals_reference(truth, truth.perturbed(change, seed), tmp_path)


def test_prediction_on_void_and_crowd_is_excused():
    true_map = np.zeros((4, 10), np.int32)
    true_map[:, 6:] = 7
    crowd = [{"id": 7, "category_id": 1, "iscrowd": 1}]
    predicted = np.zeros((4, 10), np.int32)
    predicted[:, :4], predicted[:, 6:] = 1, 2
    on_void_and_crowd = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 1}]
    assert count_image(true_map, crowd, predicted, on_void_and_crowd, {1})["category"] == []
    # The crowd excuses its own class only.
    other_class = [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 3}]
    assert count_image(true_map, crowd, predicted, other_class, {1, 3}) == {
        "category": [3],
        "iou": [0.0],
        "tp": [0],
        "fp": [1],
        "fn": [0],
    }


def test_void_pixels_do_not_lower_the_iou():
    true_map = np.zeros((1, 10), np.int32)
    true_map[:, :4] = 5
    counts = count_image(
        true_map, [{"id": 5, "category_id": 1}], np.ones((1, 10), np.int32), [{"id": 1, "category_id": 1}], {1}
    )
    assert counts["iou"] == [1.0]


def test_classes_that_never_occur_do_not_count():
    truth = synthetic(1)
    quality = quality_of(truth, truth)
    absent = [id_ for id_, value in quality.per_class().items() if value.classes == 0]
    assert absent
    assert quality.quality(absent).classes == 0
    assert np.isnan(quality.quality(absent).pq)
    assert quality.quality().classes == len(truth.categories) - len(absent)


def test_empty_image_is_perfect_only_if_nothing_was_to_find():
    empty = np.zeros((3, 3), np.int32)
    assert image_quality(count_image(empty, [], empty, [], set())) == 1.0
    full = np.ones((3, 3), np.int32)
    missed = count_image(full, [{"id": 1, "category_id": 2}], empty, [], {2})
    assert missed == {"category": [2], "iou": [0.0], "tp": [0], "fp": [0], "fn": [1]}
    assert image_quality(missed) == 0.0


@pytest.mark.parametrize(
    ("predicted_map", "segments", "message"),
    [
        (np.ones((2, 3)), [{"id": 1, "category_id": 1}], r"the prediction has \(2, 3\) pixels, the ground truth"),
        (np.ones((2, 2)), [{"id": 1, "category_id": 9}], "predicted segment has category id 9"),
        (np.ones((2, 2)), [], "pixels have segment id 1, which the list of segments does not have"),
        (np.ones((2, 2)), [{"id": 1, "category_id": 1}, {"id": 2, "category_id": 1}], "segment 2 is listed but has no"),
        (np.ones((2, 2)), [{"id": 1, "category_id": 1}, {"id": 1, "category_id": 1}], "two predicted segments"),
    ],
    ids=["size", "category", "unlisted", "no pixels", "twice"],
)
def test_inputs_that_do_not_fit(predicted_map, segments, message):
    truth = Picture(1, np.ones((2, 2), np.int32), [{"id": 1, "category_id": 1}])
    with pytest.raises(PanopticInputError, match=message):
        count_image(truth.ids, truth.segments, predicted_map.astype(np.int32), segments, {1})


def test_counts_add_up_in_any_order():
    truth = synthetic(3)
    prediction = truth.perturbed(merged)
    whole = quality_of(truth, prediction)
    halves = [
        quality_of(PanopticSet(truth.categories, truth.pictures[part]), PanopticSet([], prediction.pictures[part]))
        for part in (slice(0, 1), slice(1, None))
    ]
    assert np.allclose(halves[0].counts + halves[1].counts, whole.counts, atol=1e-12)
    assert whole.quality() != quality_of(truth, truth.perturbed(unchanged)).quality()


def quality_with_areas(*areas: object) -> float:
    """PQ of a perfect prediction, the ground truth's areas (800 and 400 pixels) stated as given."""
    ids = np.zeros((40, 40), np.int32)
    ids[:20], ids[20:, :20] = 1, 2
    segments = [{"id": number, "category_id": number} for number in (1, 2)]
    true = [{**segment, "area": area} for segment, area in zip(segments, areas, strict=True)]
    quality = PanopticQuality({number: {"name": "", "isthing": 1} for number in (1, 2)})
    quality.add(count_image(ids, true, ids, segments, {1, 2}))
    return 100 * quality.quality().pq


def test_stated_areas_count_as_in_the_reference():
    assert quality_with_areas(800, 400) == 100
    assert quality_with_areas(None, None) == 100
    assert quality_with_areas(800.9, 400.9) == pytest.approx(99.832, abs=0.001)


@pytest.mark.parametrize("area", [0, 10, 99, -5, 10**12, float("nan"), "800", True, [800]])
def test_areas_that_cannot_be_are_named(area):
    with pytest.raises(PanopticInputError, match="ground-truth segment 1 has .*; correct the JSON"):
        quality_with_areas(area, 400)
