"""AP of tubes against what the published code computed."""

import json

import numpy as np
import pycocotools.mask as rle_codec
import pytest

from fcclip.evaluation.metrics.youtube_vis import VideoInstancesError, tube_iou, video_average_precision
from tests.shared import SHARED, needs_shared

SAMPLE = SHARED / "parity/video/ytvis_sample"


@needs_shared
@pytest.mark.parametrize("empty", ["as_rle", "as_null"])
def test_sample_equals_the_published_code(empty):
    truth, results, reference = (
        json.loads((SAMPLE / f"{name}.json").read_text()) for name in ("ground_truth", "results", "reference")
    )
    if empty == "as_null":
        for record in results:
            masks = record["segmentations"]
            record["segmentations"] = [mask if rle_codec.area(mask) else None for mask in masks]
    values = video_average_precision(truth, results)
    wanted = reference["result" if empty == "as_rle" else "result_with_null_for_empty"]
    for name, value in wanted["stats"].items():
        expected = float("nan") if value == -1 else 100 * value
        assert values[name] == pytest.approx(expected, abs=1e-9, nan_ok=True), name
    for name, value in wanted["ap_per_class"].items():
        assert values[f"AP-{name}"] == pytest.approx(100 * value, abs=1e-9)


def mask(columns: slice) -> dict:
    pixels = np.zeros((4, 4), np.uint8, order="F")
    pixels[:, columns] = 1
    return rle_codec.encode(pixels)


def world() -> tuple[dict, list[dict]]:
    """One video with a cat (base) and a dog (novel) of LV-VIS; only the cat is found."""
    truth = {
        "videos": [{"id": 1, "height": 4, "width": 4, "length": 2}],
        "categories": [{"id": 1, "name": "cat", "partition": 0}, {"id": 2, "name": "dog", "partition": 2}],
        "annotations": [
            {"id": 1, "video_id": 1, "category_id": 1, "segmentations": [mask(slice(0, 2)), None], "areas": [8, None]},
            {"id": 2, "video_id": 1, "category_id": 2, "segmentations": [None, mask(slice(0, 1))], "areas": [None, 4]},
        ],
    }
    results = [{"video_id": 1, "category_id": 1, "score": 0.9, "segmentations": [mask(slice(0, 2)), None]}]
    return truth, results


def test_base_and_novel_classes_of_lv_vis():
    values = video_average_precision(*world())
    assert (values["APb"], values["APn"], values["AP"]) == pytest.approx((100, 0, 50))


def test_iou_of_tubes_adds_frames_up():
    first, second = [mask(slice(0, 2)), mask(slice(0, 1)), None], [mask(slice(1, 3)), None, None]
    assert tube_iou(first, second) == pytest.approx(4 / (12 + 4))
    assert tube_iou([None], [None]) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video_id": 7}, "video 7, which the ground truth lacks"),
        ({"category_id": 9}, "category 9, which the ground truth lacks"),
        ({"segmentations": [None]}, "masks of 1 frames, the video has 2"),
        ({"segmentations": [{"size": [9, 9], "counts": "0"}, None]}, "its image has"),
    ],
)
def test_results_that_do_not_fit_are_explained(change, message):
    truth, results = world()
    with pytest.raises(VideoInstancesError, match=message):
        video_average_precision(truth, [{**results[0], **change}])


def test_a_result_that_lacks_something_is_explained():
    truth, results = world()
    del results[0]["segmentations"], results[0]["video_id"]
    with pytest.raises(VideoInstancesError, match="a video instance has no segmentations, video_id"):
        video_average_precision(truth, results[:1])


def test_a_split_without_annotations_is_explained():
    with pytest.raises(VideoInstancesError, match="its server"):
        video_average_precision({"videos": [{"id": 1}], "categories": []}, [])
