"""Whole datasets: what is listed against what is loaded, per class and per reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from detectron2.data import DatasetCatalog

from fcclip.config import get_cfg
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.data.validation.report import Report, check_dataset
from fcclip.files.panoptic import write_panoptic_png
from tests.data import trees

NAME = "test_report"


def check(full: bool = False, **entry: Any) -> Report:
    cfg = get_cfg()
    cfg.DATASETS.CUSTOM = [{"NAME": NAME, **{key: str(value) for key, value in entry.items()}}]
    register_custom_datasets(cfg)
    return check_dataset(NAME, full)


def instances(folder: Path, annotations: list[Any], full: bool = False) -> Report:
    trees.write_image(folder / "images/a.jpg")
    image = {"id": 1, "file_name": "a.jpg", "height": trees.HEIGHT, "width": trees.WIDTH}
    categories = [{"id": 3, "name": "bolt"}, {"id": 8, "name": "nut"}]
    content = {"images": [image], "categories": categories, "annotations": annotations}
    path = trees.write_json(folder / "i.json", content)
    return check(full, FORMAT="coco_instance", IMAGES=folder / "images", JSON=path)


def panoptic(folder: Path, change: dict[str, Any], full: bool = False) -> Report:
    """A panoptic set of one picture whose JSON is changed."""
    trees.write_image(folder / "images/a.jpg")
    write_panoptic_png(folder / "png/a.png", trees.left_and_right(1, 2))
    segments = [{"id": 1, "category_id": 9, "area": 24, "iscrowd": 1}, {"id": 2, "category_id": 5}]
    content = {
        "images": [{"id": 17, "file_name": "a.jpg"}],
        "annotations": [{"image_id": 17, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 9, "name": "lift", "isthing": 1}, {"id": 5, "name": "floor", "isthing": 0}],
    }
    path = trees.write_json(folder / "p.json", {**content, **change})
    return check(full, FORMAT="coco_panoptic", IMAGES=folder / "images", PANOPTIC=folder / "png", JSON=path)


def test_objects_are_counted_per_class_and_reason(tmp_path: Path):
    point = {**trees.coco_object(2, 1, 3), "segmentation": [[1, 1]]}
    crowd = {**trees.coco_object(3, 1, 3), "iscrowd": 1}
    report = instances(tmp_path, [trees.coco_object(1, 1, 3), point, crowd], full=True)
    assert report.problems == ()
    bolt, nut = report.classes
    assert (bolt.name, bolt.listed, bolt.loaded) == ("bolt", 3, 1)
    assert bolt.left_out == {"no polygon with three points": 1, "crowd region (iscrowd 1)": 1}
    assert (nut.listed, nut.loaded) == (0, 0)
    assert "bolt" in report.table()
    assert "note: objects left out because of no polygon with three points: 1" in report.table()


@pytest.mark.parametrize(
    ("annotations", "says"),
    [([], "has no object"), ([{**trees.coco_object(1, 1, 3), "iscrowd": 1}], r"has crowd regions \(iscrowd 1\) only")],
)
def test_a_file_without_objects_is_refused(tmp_path: Path, annotations: list[Any], says: str):
    assert len(instances(tmp_path, annotations).problems) == 1
    with pytest.raises(ValueError, match=says):
        DatasetCatalog.get(NAME)


def test_segments_are_counted(tmp_path: Path):
    report = panoptic(tmp_path, {}, full=True)
    assert report.problems == ()
    assert [(count.name, count.listed, count.loaded) for count in report.classes] == [("floor", 1, 1), ("lift", 1, 0)]


@pytest.mark.parametrize(
    "change",
    [
        {"annotations": []},
        {"annotations": [None]},
        {"annotations": None},
        {"categories": None},
        {"categories": [3]},
        {"categories": [{"id": 9, "name": 3, "isthing": 1}]},
        {"categories": [{"id": 9, "name": "lift", "isthing": 1}, {"id": "5", "name": "floor", "isthing": 0}]},
        {"categories": [{"id": 9, "name": "a", "isthing": 1}, {"id": 5, "name": "A", "isthing": 0}]},
        {"categories": [{"id": 9, "name": "a", "isthing": 1, "color": "red"}, {"id": 5, "name": "b", "isthing": 0}]},
        {"images": None},
        {"images": [{"id": 17, "file_name": 3}]},
        {"images": [{"id": 17, "file_name": "a.jpg"}] * 2},
        {"images": [{"id": 17, "file_name": "a.jpg"}, {"id": 18, "file_name": "b.jpg"}]},
        {"images": [{"id": 17, "file_name": "."}]},
        {"images": [{"id": 17, "file_name": "none.jpg"}]},
    ],
    ids=json.dumps,
)
def test_a_wrong_panoptic_file_is_a_problem_and_refused(tmp_path: Path, change: dict[str, Any]):
    assert panoptic(tmp_path, change).problems
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        DatasetCatalog.get(NAME)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value) or NAME in str(error.value)
