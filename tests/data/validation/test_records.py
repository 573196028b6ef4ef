"""Files of records: sizes as they are shown, areas as they are counted, and one file for one purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcclip.data.validation.records import Expectations, inspect_files, inspect_record
from fcclip.files.panoptic import write_panoptic_png
from tests.data import trees

FULL = Expectations(classes=2, ignore_label=255, full=True)


def turned(path: Path) -> Path:
    """An image that is stored 60 x 40 and shown 40 x 60."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize(("height", "width", "problems"), [(60, 40, 0), (40, 60, 1)])
def test_sizes_are_those_of_the_shown_image(tmp_path: Path, height: int, width: int, problems: int):
    record = {"file_name": str(turned(tmp_path / "a.jpg")), "height": height, "width": width}
    found = inspect_record(record, FULL).problems
    assert len(found) == problems
    assert all("is 40 x 60, but the annotations say 60 x 40" in problem.message for problem in found)


@pytest.mark.parametrize(("shape", "problems"), [((60, 40), 0), ((40, 60), 1)])
def test_label_maps_fit_the_shown_image(tmp_path: Path, shape: tuple[int, int], problems: int):
    labels = trees.write_labels(tmp_path / "a.png", np.zeros(shape, np.uint8))
    record = {"file_name": str(turned(tmp_path / "a.jpg")), "sem_seg_file_name": str(labels)}
    assert len(inspect_record(record, FULL).problems) == problems


@pytest.mark.parametrize(("area", "problem", "note"), [(24, 0, 0), (None, 0, 0), (10, 1, 0), (0, 1, 0), (30, 0, 1)])
def test_stated_areas_are_compared_with_pixels(tmp_path: Path, area: int | None, problem: int, note: int):
    image = trees.write_image(tmp_path / "a.jpg")
    write_panoptic_png(tmp_path / "a.png", trees.left_and_right(0, 7))
    segment = {"id": 7, "category_id": 1} | ({} if area is None else {"area": area})
    record = {"file_name": str(image), "pan_seg_file_name": str(tmp_path / "a.png"), "segments_info": [segment]}
    findings = inspect_record(record, FULL)
    assert len(findings.problems) == problem
    assert len(findings.notes) == note


@pytest.mark.parametrize("mode", ["RGB", "LA", "1", "F"])
def test_label_maps_have_one_integer_per_pixel(tmp_path: Path, mode: str):
    image = trees.write_image(tmp_path / "a.jpg")
    labels = tmp_path / ("a.tif" if mode == "F" else "a.png")
    Image.new(mode, (trees.WIDTH, trees.HEIGHT)).save(labels)
    record = {"file_name": str(image), "sem_seg_file_name": str(labels)}
    (problem,) = inspect_record(record, Expectations(2, 255, full=False)).problems
    assert f"is a {mode} image" in problem.message


def test_masks_outside_of_the_image_are_told(tmp_path: Path):
    image = trees.write_image(tmp_path / "a.jpg")
    outside = {"category_id": 0, "segmentation": [[100, 100, 110, 100, 110, 110]]}
    broken = {"category_id": 0, "segmentation": {"size": list(trees.SIZE), "counts": [1, 2, 3]}}
    record = {"file_name": str(image), "height": trees.HEIGHT, "width": trees.WIDTH, "annotations": [outside, broken]}
    findings = inspect_record(record, FULL)
    assert [note.count for note in findings.notes.values()] == [1]
    assert len(findings.problems) <= 1


def records(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    image = trees.write_image(folder / "a.jpg")
    labels = trees.write_labels(folder / "a.png", [[0]])
    return [{"file_name": str(image), "sem_seg_file_name": str(labels), **changes}]


def test_every_file_is_looked_for(tmp_path: Path):
    assert inspect_files(records(tmp_path)).problems == []
    (tmp_path / "folder.png").mkdir()
    for name, says in (("none.png", "does not exist"), ("folder.png", "is not a file")):
        (problem,) = inspect_files(records(tmp_path, sem_seg_file_name=str(tmp_path / name))).problems
        assert problem.file.endswith(name)
        assert problem.message == says


def test_one_file_has_one_purpose(tmp_path: Path):
    (problem,) = inspect_files(records(tmp_path, sem_seg_file_name=str(tmp_path / "a.jpg"))).problems
    assert "is named as the image and as its annotation" in problem.message
