"""VPQ against what the published script counted."""

import json

import numpy as np
import pytest

from fcclip.evaluation.metrics.panoptic_quality import PanopticInputError
from fcclip.evaluation.metrics.video_panoptic import FrameCounts, VideoPanopticQuality, count_frame, count_window
from tests.shared import SHARED, needs_shared

CATEGORIES = {
    1: {"id": 1, "name": "cat", "isthing": 1},
    2: {"id": 2, "name": "dog", "isthing": 1},
    3: {"id": 3, "name": "sky", "isthing": 0},
}


def edge_cases():
    path = SHARED / "parity/video/edge_cases_reference.json"
    return json.loads(path.read_text())["vpq"] if path.is_file() else []


def frames_of(case) -> list[FrameCounts]:
    return [
        count_frame(
            np.array(true["map"]), true["segments_info"], np.array(found["map"]), found["segments_info"], CATEGORIES
        )
        for true, found in zip(case["gt"], case["prediction"], strict=True)
    ]


@needs_shared
@pytest.mark.parametrize("case", edge_cases(), ids=lambda case: case["name"])
def test_edge_case_counts_as_the_script(case):
    expected = case["iou_tp_fp_fn_by_category"]
    if isinstance(expected, str):  # the script's KeyError
        with pytest.raises(PanopticInputError):
            frames_of(case)
        return
    frames, length = frames_of(case), case["frames_in_window"]
    if len(frames) >= length:
        counts = count_window(frames)
        rows = dict(
            zip(counts["category"], zip(*(counts[k] for k in ("iou", "tp", "fp", "fn")), strict=True), strict=True)
        )
        assert {str(category): list(row) for category, row in rows.items()} == expected
    quality = VideoPanopticQuality(CATEGORIES, windows=(length,))
    quality.add_video(frames)
    of_window = quality.of_window[length]
    for group, ids in (("All", None), ("Things", of_window.things()), ("Stuff", of_window.things(False))):
        values, wanted = of_window.quality(ids), case["averages"][group]
        if wanted == "ZeroDivisionError":
            assert values.classes == 0
        else:
            assert (values.pq, values.sq, values.rq, values.classes) == tuple(
                wanted[k] for k in ("pq", "sq", "rq", "n")
            )


def one_object(ids: list[int], found: list[int], area: int = 4) -> list[FrameCounts]:
    """A cat that fills every frame of 1 x 4 pixels; its true and its predicted id frame by frame."""
    return [
        count_frame(
            np.full((1, 4), true),
            [{"id": true, "category_id": 1, "area": area}],
            np.full((1, 4), predicted),
            [{"id": predicted, "category_id": 1}],
            CATEGORIES,
        )
        for true, predicted in zip(ids, found, strict=True)
    ]


def test_an_id_switch_harms_only_windows_that_see_it():
    quality = VideoPanopticQuality(CATEGORIES, windows=(1, 2))
    quality.add_video(one_object([1, 1, 1, 1], [7, 7, 8, 8]))
    assert quality.of_window[1].quality().pq == 1.0
    # Two of three windows match; the one in the middle has two false tubes and a missed one.
    assert quality.of_window[2].quality().pq == pytest.approx(2 / (2 + 3 / 2))
    assert quality.mean((1, 2)) == pytest.approx((1 + 2 / 3.5) / 2)


def test_a_stated_area_that_is_too_small_is_explained():
    quality = VideoPanopticQuality(CATEGORIES, windows=(1,))
    with pytest.raises(PanopticInputError, match="segment 5 has 3 pixels"):
        quality.add_video(one_object([5], [9], area=3))


def test_ground_truth_without_area_is_explained():
    with pytest.raises(PanopticInputError, match="no area for segment 5"):
        count_frame(np.full((1, 2), 5), [{"id": 5, "category_id": 1}], np.zeros((1, 2), int), [], CATEGORIES)
