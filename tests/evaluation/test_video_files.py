"""Scores of video predictions on disk against what the published scripts printed, and their errors as sentences."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fcclip.evaluation import video_files
from fcclip.evaluation.video_files import score_video_panoptic_files
from fcclip.files.panoptic import write_panoptic_png
from tests.shared import SHARED, needs_shared

SAMPLE = SHARED / "parity/video/vps_sample"


def sample_paths(folder: Path = SAMPLE) -> tuple[Path, Path, Path, Path]:
    prediction = folder / "prediction"
    return (
        folder / "panoptic_gt_VIPSeg_val.json",
        folder / "panomasksRGB",
        prediction / "pred.json",
        prediction / "pan_pred",
    )


@needs_shared
def test_sample_equals_the_published_scripts():
    reference = json.loads((SHARED / "parity/video/vpq_stq_reference.json").read_text())
    report = score_video_panoptic_files(*sample_paths())
    assert report["VPQ"] == pytest.approx(reference["mean_of_1_2_4_6_as_in_the_papers"]["All"], abs=1e-9)
    assert report["VPQ_script"] == pytest.approx(reference["mean_of_1_2_4_6_8_as_in_the_script"]["All"], abs=1e-9)
    assert report["VPQ_things"] == pytest.approx(reference["mean_of_1_2_4_6_as_in_the_papers"]["Things"], abs=1e-9)
    for window in ("1", "2", "4", "6", "8"):
        groups = reference["windows"][window]
        assert report[f"VPQ_{window}"] == pytest.approx(100 * groups["All"]["pq"], abs=1e-9)
        for group in ("All", "Things", "Stuff"):
            ours, theirs = report["windows"][window][group], groups[group]
            assert [ours["PQ"], ours["SQ"], ours["RQ"]] == pytest.approx(
                [100 * theirs[key] for key in ("pq", "sq", "rq")], abs=1e-9
            )
            assert ours["n"] == theirs["n"]
    corrected = reference["stq_variants_not_published"]["instance_numbers_from_1_and_iscrowd_as_0"]
    assert [report["STQ"], report["AQ"], report["SQ"]] == pytest.approx(
        [100 * reference["stq"][key] for key in ("STQ", "AQ", "IoU")], abs=1e-9
    )
    assert [report["STQ_corrected"], report["AQ_corrected"]] == pytest.approx(
        [100 * corrected[key] for key in ("STQ", "AQ")], abs=1e-9
    )


@needs_shared
def test_every_png_is_decoded_once(monkeypatch):
    read: list[Path] = []
    original = video_files.read_panoptic_png
    monkeypatch.setattr(video_files, "read_panoptic_png", lambda path: read.append(path) or original(path))
    score_video_panoptic_files(*sample_paths())
    assert len(read) == len(set(read)) == 2 * 23


def write_video(folder: Path, frames: int = 2) -> tuple[Path, Path, Path, Path]:
    """A cat that fills every frame of a video; the prediction is right."""
    record = {"id": 1, "category_id": 4, "iscrowd": 0, "area": 6}
    names = [f"{number:03}.png" for number in range(frames)]
    video = {"video_id": "v", "annotations": [{"file_name": name, "segments_info": [record]} for name in names]}
    categories = [{"id": 4, "name": "cat", "isthing": 1}, {"id": 9, "name": "sky", "isthing": 0}]
    for part in ("truth", "prediction"):
        for name in names:
            write_panoptic_png(folder / part / "v" / name, np.ones((2, 3), int))
        (folder / f"{part}.json").write_text(json.dumps({"annotations": [video], "categories": categories}))
    return folder / "truth.json", folder / "truth", folder / "prediction.json", folder / "prediction"


def test_a_right_prediction_scores_all_where_there_is_something_to_score(tmp_path):
    report = score_video_panoptic_files(*write_video(tmp_path))
    assert (report["VPQ_1"], report["VPQ_2"], report["STQ_corrected"]) == (100, 100, 100)
    assert (report["VPQ_4"], report["VPQ"], report["VPQ_stuff"]) == (None, None, None)
    assert report["STQ"] == 0  # the only object is listed first, which the published script takes for a crowd
    assert "4, 6, 8 frames" in report["notes"][0]


def change_json(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content["annotations"])
    path.write_text(json.dumps(content))


def rename_category(annotations):
    annotations[0]["annotations"][1]["segments_info"][0]["category_id"] = 77


def rename_id(annotations):
    annotations[0]["annotations"][1]["segments_info"][0]["id"] = 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda annotations: annotations.clear(), "no prediction for 1 of 1 videos, e.g. v"),
        (lambda annotations: annotations[0]["annotations"].pop(), "1 frames of video v, the ground truth 2"),
        (rename_category, "video v, frame 001.png: a predicted segment has category id 77"),
        (rename_id, "video v, frame 001.png: pixels have segment id 1"),
        (lambda annotations: annotations[0].pop("video_id"), "not COCO's"),
    ],
)
def test_predictions_that_do_not_fit_are_explained(tmp_path, change, message):
    paths = write_video(tmp_path)
    change_json(paths[2], change)
    with pytest.raises(ValueError, match=message):
        score_video_panoptic_files(*paths)


def test_a_missing_frame_is_named(tmp_path):
    paths = write_video(tmp_path)
    shutil.rmtree(paths[3])
    with pytest.raises(FileNotFoundError, match=r"000\.png does not exist"):
        score_video_panoptic_files(*paths)
