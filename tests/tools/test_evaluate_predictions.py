"""The command that scores saved predictions: right numbers, and one clear error for each kind of bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcclip.files.panoptic import write_panoptic_png
from tests.evaluation.panoptic_samples import CHANGES, everything, published, synthetic
from tests.shared import SHARED, needs_shared
from tools.evaluate_predictions import main


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Ground truth and predictions of a synthetic set, on disk."""
    truth = synthetic(0)
    return {
        "gt_json": truth.write(tmp_path / "truth"),
        "gt_folder": tmp_path / "truth",
        "pred_json": truth.perturbed(everything).write(tmp_path / "prediction"),
        "pred_folder": tmp_path / "prediction",
        "output": tmp_path / "results.json",
    }


def run(options: dict[str, Any]) -> int:
    arguments = [text for key, value in options.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    return main(arguments)


def error_of(options: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a failing run prints."""
    assert run(options) == 1
    assert not options["output"].exists()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@needs_shared
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_panoptic_scores_equal_the_reference(change, tmp_path: Path, capsys):
    panoptic_reference = pytest.importorskip("hotcoco.panoptic")
    truth = published()
    options = {
        "gt_json": truth.write(tmp_path / "truth"),
        "gt_folder": tmp_path / "truth",
        "pred_json": truth.perturbed(change).write(tmp_path / "prediction"),
        "pred_folder": tmp_path / "prediction",
        "output": tmp_path / "results.json",
    }
    assert run(options) == 0
    assert "Things" in capsys.readouterr().out
    results = json.loads(options["output"].read_text())
    scorer = panoptic_reference.PanopticEval(str(options["gt_json"]), str(options["pred_json"]))
    scorer.evaluate()
    for group in ("All", "Things", "Stuff"):
        for key in ("PQ", "SQ", "RQ"):
            assert results[group][key] == pytest.approx(100 * scorer.results()[group][key.lower()], abs=1e-9)
    for id_, expected in scorer.results()["per_class"].items():
        ours = results["per_class"][str(id_)]
        assert (ours["tp"], ours["fp"], ours["fn"]) == (expected["tp"], expected["fp"], expected["fn"])
        if expected["pq"] >= 0:
            assert ours["PQ"] == pytest.approx(100 * expected["pq"], abs=1e-9)
        else:
            assert ours["PQ"] is None


def test_predictions_of_other_images(files, tmp_path: Path, capsys):
    other = synthetic(0)
    for picture in other.pictures:
        picture.image_id += 100
    files["pred_json"] = other.write(tmp_path / "other")
    assert "has no prediction for 3 of 3 images" in error_of(files, capsys)


def test_predictions_of_more_images(files, capsys):
    edit(files["gt_json"], lambda content: content["annotations"].pop())
    assert "has predictions for 1 images that" in error_of(files, capsys)


@pytest.mark.parametrize("name", ["gt_json", "pred_json"])
def test_missing_json(files, capsys, name: str):
    files[name].unlink()
    assert f"{files[name]} does not exist" in error_of(files, capsys)


def test_missing_png(files, capsys):
    (files["pred_folder"] / "2.png").unlink()
    assert f"{files['pred_folder'] / '2.png'} does not exist" in error_of(files, capsys)


def test_damaged_png(files, capsys):
    (files["pred_folder"] / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "2.png is not a readable image" in error_of(files, capsys)


def test_unknown_category(files, capsys):
    edit(files["pred_json"], lambda content: content["annotations"][1]["segments_info"][0].update(category_id=77))
    message = error_of(files, capsys)
    assert "image 2 (2.png): a predicted segment has category id 77, which the ground truth lacks" in message


def test_size_mismatch(files, capsys):
    write_panoptic_png(files["pred_folder"] / "3.png", np.zeros((5, 6), np.int32))
    assert "image 3 (3.png): the prediction has (5, 6) pixels, the ground truth (40, 60)" in error_of(files, capsys)


def test_pixels_without_a_segment(files, capsys):
    edit(files["pred_json"], lambda content: content["annotations"][0]["segments_info"].pop())
    assert "which the list of segments does not have" in error_of(files, capsys)


def test_segment_without_pixels(files, capsys):
    extra = {"id": 2**24 - 1, "category_id": 10}
    edit(files["pred_json"], lambda content: content["annotations"][0]["segments_info"].append(extra))
    assert "segment 16777215 is listed but has no pixel in the map" in error_of(files, capsys)


def test_not_a_panoptic_json(files, capsys):
    files["pred_json"].write_text(json.dumps([{"image_id": 1, "bbox": [0, 0, 1, 1]}]))
    assert "holds a list, not an object" in error_of(files, capsys)


def test_ground_truth_without_categories(files, capsys):
    edit(files["gt_json"], lambda content: content.update(categories=[]))
    assert "has no categories" in error_of(files, capsys)


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, Any]:
    """Two label maps of three classes (16-bit truth, 8-bit predictions)."""
    for folder in ("truth", "prediction"):
        (tmp_path / folder).mkdir()
    true = np.array([[0, 0, 1, 1, 65535]], np.uint16)
    predicted = np.array([[0, 1, 1, 1, 2]], np.uint8)
    for stem in ("a", "b"):
        Image.fromarray(true).save(tmp_path / "truth" / f"{stem}.tif")
        Image.fromarray(predicted).save(tmp_path / "prediction" / f"{stem}.png")
    (tmp_path / "names.txt").write_text("0:cat,kitten\n1:dog\n2:sky\n")
    return {
        "gt_labels": tmp_path / "truth",
        "pred_labels": tmp_path / "prediction",
        "names": tmp_path / "names.txt",
        "ignore_label": 65535,
        "output": tmp_path / "results.json",
    }


def test_label_maps(labels, capsys):
    assert run(labels) == 0
    assert "mIoU_absent_as_zero: classes that were predicted" in capsys.readouterr().out
    results = json.loads(labels["output"].read_text())
    assert results["images"] == 2
    assert results["All"]["mIoU"] == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert results["All"]["pACC"] == pytest.approx(75.0)
    assert results["per_class"]["1"] == {"name": "dog", "IoU": pytest.approx(200 / 3), "ACC": 100.0}
    assert results["per_class"]["2"] == {"name": "sky", "IoU": None, "ACC": None}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "b.png").unlink(), "has no prediction for 1 of 2 images"),
        (lambda folder: Image.new("L", (1, 1)).save(folder / "c.png"), "has predictions for 1 images that"),
        (lambda folder: Image.new("L", (4, 1)).save(folder / "b.png"), "b.png: the prediction has (1, 4) pixels"),
        (lambda folder: Image.new("L", (5, 1), 9).save(folder / "b.png"), "b.png: the prediction has label 9"),
        (lambda folder: Image.new("RGB", (5, 1)).save(folder / "b.png"), "a label map has one integer per pixel"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "has no label map"),
    ],
)
def test_bad_label_maps(labels, capsys, spoil, message: str):
    spoil(labels["pred_labels"])
    assert message in error_of(labels, capsys)


def test_missing_label_folder_and_names(labels, capsys, tmp_path: Path):
    assert "nowhere does not exist" in error_of({**labels, "pred_labels": tmp_path / "nowhere"}, capsys)
    labels["names"].unlink()
    assert "names.txt" in error_of(labels, capsys)


def test_half_of_the_options(files, capsys):
    del files["pred_folder"]
    with pytest.raises(SystemExit):
        run(files)
    assert "give either --gt-json --gt-folder --pred-json --pred-folder or" in capsys.readouterr().err


@needs_shared
def test_video_scores_have_their_names(tmp_path: Path, capsys):
    sample = SHARED / "parity/video/vps_sample"
    options = {
        "gt_json": sample / "panoptic_gt_VIPSeg_val.json",
        "gt_folder": sample / "panomasksRGB",
        "pred_json": sample / "prediction/pred.json",
        "pred_folder": sample / "prediction/pan_pred",
        "output": tmp_path / "results.json",
    }
    assert main(["--video", *(text for key, value in options.items() for text in (_flag(key), str(value)))]) == 0
    report = json.loads(options["output"].read_text())
    assert [report[key] for key in ("VPQ", "VPQ_script", "STQ", "STQ_corrected")] == pytest.approx(
        [58.6951, 61.5835, 47.5966, 52.0400], abs=1e-4
    )
    printed = capsys.readouterr().out
    assert "58.695" in printed
    assert "as in papers" in printed
    options["gt_json"] = options["pred_json"]
    assert main(["--video", *(text for key, value in options.items() for text in (_flag(key), str(value)))]) == 1
    assert "has no categories" in capsys.readouterr().err


def test_video_needs_panoptic_files(capsys):
    with pytest.raises(SystemExit):
        main(["--video", "--gt-labels", "a", "--pred-labels", "b", "--names", "c"])
    assert "--gt-json" in capsys.readouterr().err


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
