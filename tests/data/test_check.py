"""`python -m fcclip.data.check` on whole and on damaged datasets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from fcclip.data.check import main
from fcclip.data.prepare import ade20k
from fcclip.data.prepare.jobs import Options
from fcclip.data.validation.findings import Problem
from fcclip.data.validation.records import Expectations, inspect_record
from fcclip.data.validation.report import check_dataset
from fcclip.files.panoptic import write_panoptic_png
from tests.data import trees

PANOPTIC, SEMANTIC, INSTANCES = (f"openvocab_ade20k_{kind}_val" for kind in ("panoptic", "sem_seg", "instance"))
STEM = "ADE_val_00000001"


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared ADE20K with one validation image."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    trees.ade20k(tmp_path)
    for prepare in (ade20k.prepare_semantic, ade20k.prepare_instances, ade20k.prepare_panoptic):
        prepare(Options(tmp_path))
    return tmp_path / "ADEChallengeData2016"


def problems(name: str, full: bool = False) -> list[Problem]:
    """The problems of a dataset, but for the number of images, which tiny copies never have."""
    return [problem for problem in check_dataset(name, full).problems if problem.check != "number of images"]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", [PANOPTIC, SEMANTIC, INSTANCES])
def test_a_whole_dataset_has_no_problem(base: Path, name: str, full: bool):
    assert problems(name, full) == []


def test_the_number_of_images_is_compared(base: Path):
    report = check_dataset(SEMANTIC)
    assert report.images == 1
    assert report.expected == (2000,)
    assert [problem.check for problem in report.problems] == ["number of images"]


def remove_image(base: Path) -> None:
    (base / f"images/validation/{STEM}.jpg").rename(base / "images/validation/other.jpg")


def write_record(base: Path, stem: str) -> None:
    """Add a copy of the only image under another name to the panoptic set."""
    for folder, suffix in (("images/validation", "jpg"), ("annotations_detectron2/validation", "png")):
        (base / folder / f"{stem}.{suffix}").write_bytes((base / folder / f"{STEM}.{suffix}").read_bytes())
    (base / f"ade20k_panoptic_val/{stem}.png").write_bytes((base / f"ade20k_panoptic_val/{STEM}.png").read_bytes())
    content = json.loads((base / "ade20k_panoptic_val.json").read_text())
    content["annotations"].append({**content["annotations"][0], "image_id": stem, "file_name": f"{stem}.png"})
    trees.write_json(base / "ade20k_panoptic_val.json", content)


def truncate_panoptic(base: Path) -> None:
    path = base / f"ade20k_panoptic_val/{STEM}.png"
    path.write_bytes(path.read_bytes()[:-30])


def empty_labels(base: Path) -> None:
    (base / f"annotations_detectron2/validation/{STEM}.png").write_bytes(b"")


def resize_labels(base: Path) -> None:
    trees.write_labels(base / f"annotations_detectron2/validation/{STEM}.png", [[0, 1]])


def unknown_label(base: Path) -> None:
    trees.write_labels(base / f"annotations_detectron2/validation/{STEM}.png", trees.left_and_right(0, 150))


def other_segments(base: Path) -> None:
    write_panoptic_png(base / f"ade20k_panoptic_val/{STEM}.png", trees.left_and_right(5, 6))


def repeated_segment(base: Path) -> None:
    content = json.loads((base / "ade20k_panoptic_val.json").read_text())
    segments = content["annotations"][0]["segments_info"]
    segments.append(segments[0])
    trees.write_json(base / "ade20k_panoptic_val.json", content)


def no_instances(base: Path) -> None:
    (base / "ade20k_instance_val.json").unlink()


@pytest.mark.parametrize(
    ("damage", "full", "check", "file", "says"),
    [
        (remove_image, False, "files", f"{STEM}.jpg", "does not exist"),
        (empty_labels, False, "files", f"{STEM}.png", "cannot be read"),
        (truncate_panoptic, True, "files", f"{STEM}.png", "cannot be read"),
        (resize_labels, False, "sizes", f"{STEM}.png", "is 2 x 1, but its image 8 x 6"),
        (unknown_label, True, "pixels", f"{STEM}.png", "has labels 150"),
        (other_segments, True, "pixels", f"{STEM}.png", "has pixels of segments 5, 6"),
        (repeated_segment, False, "loading", PANOPTIC, "two segments with the id"),
        (no_instances, False, "files", "ade20k_instance_val.json", "does not exist"),
    ],
)
def test_damage_is_found_and_the_file_named(
    base: Path, damage: Callable[[Path], None], full: bool, check: str, file: str, says: str
):
    damage(base)
    found = problems(PANOPTIC, full)
    assert found, "nothing was found"
    assert any(
        problem.check == check and problem.file.endswith(file) and says in problem.message for problem in found
    ), found


def test_a_dataset_that_is_not_there_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (problem,) = check_dataset("openvocab_cityscapes_fine_panoptic_val").problems
    assert "prepare_cityscapes_pan_seg.py" in problem.message


def test_sizes_stated_in_annotations_are_compared(tmp_path: Path):
    image = trees.write_image(tmp_path / "a.jpg")
    mask = {"size": [4, 4], "counts": ""}
    record = {
        "file_name": str(image),
        "width": 9,
        "height": 6,
        "annotations": [{"category_id": 3, "segmentation": mask}],
    }
    found = inspect_record(record, Expectations(classes=2, ignore_label=None, full=True))
    assert [problem.check for problem in found.problems] == ["sizes", "ids", "sizes"]


def test_label_maps_of_16_bits(tmp_path: Path):
    image = trees.write_image(tmp_path / "a.jpg")
    labels = trees.write_labels(tmp_path / "a.tif", trees.left_and_right(846, 65535), np.uint16)
    record = {"file_name": str(image), "sem_seg_file_name": str(labels)}
    assert inspect_record(record, Expectations(classes=847, ignore_label=65535, full=True)).problems == []
    (problem,) = inspect_record(record, Expectations(classes=846, ignore_label=65535, full=True)).problems
    assert "has labels 846" in problem.message


def test_an_unknown_name_is_told(capsys: pytest.CaptureFixture[str]):
    assert main(["openvocab_ade20k_panoptic"]) == 1
    assert "did you mean openvocab_ade20k_panoptic_val" in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]):
    assert main(["--list"]) == 0
    assert PANOPTIC in capsys.readouterr().out.split()


def test_command_with_two_processes(base: Path, tmp_path: Path):
    """The real command: a table, a JSON file and the exit code 1, as one image is not the whole dataset."""
    empty_labels(base)
    write_record(base, "ADE_val_00000002")
    command = [sys.executable, "-W", "ignore", "-m", "fcclip.data.check", PANOPTIC, "--full", "--workers", "2"]
    environment = {**os.environ, "DETECTRON2_DATASETS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, "--json", str(tmp_path / "report.json")], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 1
    assert "2 of 2000" in result.stdout
    (report,) = json.loads((tmp_path / "report.json").read_text())
    assert [problem["check"] for problem in report["problems"]] == ["number of images", "files", "files"]
    assert report["images"] == 2


def test_a_dataset_of_ones_own_is_checked_and_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trees.write_image(tmp_path / "images/a.jpg")
    trees.write_labels(tmp_path / "labels/a.png", trees.left_and_right(0, 1))
    (tmp_path / "names.txt").write_text("steel\nrust\n")
    entry = {"NAME": "test_check_custom", "FORMAT": "label_maps", "IMAGES": str(tmp_path / "images")}
    entry |= {"LABELS": str(tmp_path / "labels"), "NAMES": str(tmp_path / "names.txt")}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"DATASETS": {"CUSTOM": [entry]}}))
    command = ["test_check_custom", "--config-file", str(config), "--full", "--workers", "0"]
    assert main(command) == 0
    assert "test_check_custom" in capsys.readouterr().out
    assert main(["x", "--config-file", str(tmp_path / "none.yaml")]) == 1
