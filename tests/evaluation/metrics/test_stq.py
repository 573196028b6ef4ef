"""STQ against what the published class computed."""

import json
import math

import numpy as np
import pytest

from fcclip.evaluation.metrics.histogram import count_pairs
from fcclip.evaluation.metrics.stq import LabelPairs, SegmentationTrackingQuality
from tests.shared import SHARED, needs_shared


def label_pairs(semantic, instance, found_semantic, found_instance, classes: int) -> LabelPairs:
    """Count labels that are given pixel by pixel; 255 is "none"."""
    true, found = (
        np.where(np.array(c) == 255, classes, c) << 16 | np.array(n)
        for c, n in ((semantic, instance), (found_semantic, found_instance))
    )
    pairs = count_pairs(true, found)
    low = (1 << 16) - 1
    return LabelPairs(pairs.first >> 16, pairs.first & low, pairs.second >> 16, pairs.second & low, pairs.pixels)


def edge_cases():
    path = SHARED / "parity/video/edge_cases_reference.json"
    return json.loads(path.read_text())["stq"] if path.is_file() else []


@needs_shared
@pytest.mark.parametrize("case", edge_cases(), ids=lambda case: case["name"])
def test_edge_case_equals_the_published_class(case):
    stq = SegmentationTrackingQuality(case["num_classes"], case["things"])
    for frame in case["frames"]:
        keys = ("gt_semantic", "gt_instance", "prediction_semantic", "prediction_instance")
        stq.add(frame["sequence"], label_pairs(*(frame[key] for key in keys), case["num_classes"]))
    wanted = case["result"]
    result, per_video = stq.result(), stq.per_video()
    assert [result.stq, result.aq, result.sq] == pytest.approx(
        [float(wanted[key]) for key in ("STQ", "AQ", "IoU")], nan_ok=True, abs=1e-12
    )
    for key, attribute in (("STQ_per_seq", "stq"), ("AQ_per_seq", "aq"), ("IoU_per_seq", "sq")):
        values = [getattr(per_video[video], attribute) for video in wanted["ID_per_seq"]]
        assert values == pytest.approx([float(value) for value in wanted[key]], nan_ok=True, abs=1e-12)


def test_half_a_track_lost_halves_association():
    stq = SegmentationTrackingQuality(2, things=[1])
    for number in (5, 6):
        stq.add("street", label_pairs([1, 1], [1, 1], [1, 1], [number, number], 2))
    result = stq.result()
    assert (result.aq, result.sq, result.stq) == (0.5, 1.0, math.sqrt(0.5))


def test_no_video_has_no_quality():
    assert math.isnan(SegmentationTrackingQuality(2, things=[1]).result().sq)
