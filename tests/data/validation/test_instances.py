"""Instance annotations as tools export them: what is mended, what is refused, and what each costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle_codec
from pycocotools.coco import COCO

from fcclip.data.validation.findings import Findings
from fcclip.data.validation.instances import compare_instances, read_instances
from fcclip.files.panoptic import PanopticJson
from tests.data.trees import write_json

SQUARE = [4, 4, 24, 4, 24, 24, 4, 24]


def square(**changes: Any) -> dict[str, Any]:
    """A square of 400 pixels; a change to None removes a field."""
    record = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 400, "bbox": [4, 4, 20, 20]}
    return {k: v for k, v in {**record, "segmentation": [SQUARE], **changes}.items() if v is not None}


def runs(**changes: Any) -> dict[str, Any]:
    """The same square as run lengths."""
    counts = [64 * 4 + 4, *[20, 44] * 19, 20, 64 * 64 - 64 * 23 - 24]
    return {"size": [64, 64], "counts": counts, **changes}


def write(folder: Path, *annotations: Any, **content: Any) -> Path:
    image = {"id": 1, "file_name": "a.png", "height": 64, "width": 64}
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": [image], "categories": categories, "annotations": list(annotations), **content}
    return write_json(folder / "i.json", content)


def read(folder: Path, *annotations: Any, **content: Any):
    return read_instances(write(folder, *annotations, **content))


def test_annotations_are_numbered_from_1(tmp_path: Path):
    file = read(tmp_path, square(id=0), square(id=7), square(id=None), square(id=0))
    assert [annotation["id"] for annotation in file.annotations] == [1, 2, 3, 4]
    assert file.findings == Findings(listed=file.findings.listed, loaded=file.findings.loaded)
    assert file.findings.loaded == {1: 4}


@pytest.mark.parametrize("segmentation", [[SQUARE], runs(), rle_codec.frPyObjects(runs(), 64, 64)])
def test_missing_fields_are_measured(tmp_path: Path, segmentation: Any):
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], bytes):
        segmentation = {**segmentation, "counts": segmentation["counts"].decode()}
    file = read(tmp_path, square(area=None, iscrowd=None, bbox=None, segmentation=segmentation))
    (annotation,) = file.annotations
    assert (annotation["area"], annotation["iscrowd"], annotation["bbox"]) == (400, 0, [4, 4, 20, 20])
    assert sum(note.count for note in file.findings.notes.values()) == 3
    assert not file.findings.problems


@pytest.mark.parametrize("area", [-5, float("nan"), "400", True])
def test_areas_that_cannot_be_are_measured(tmp_path: Path, area: Any):
    assert read(tmp_path, square(area=area)).annotations[0]["area"] == 400


@pytest.mark.parametrize("bad", [[14.0, 14.0], [30.0, 30.0, 40.0, 40.0], [1, 2, 3, 4, 5, 6, 7], []])
def test_polygons_without_area_are_left_out_and_told(tmp_path: Path, bad: list[float]):
    file = read(tmp_path, square(segmentation=[bad, SQUARE]))
    assert file.annotations[0]["segmentation"] == [SQUARE]
    (sentence,) = file.findings.sentences()
    assert "fewer than three points" in sentence
    assert "annotation 1 of a.png" in sentence


def test_an_object_of_such_polygons_alone_is_counted(tmp_path: Path):
    file = read(tmp_path, square(segmentation=[[14.0, 14.0]]), square())
    assert len(file.annotations) == 1
    assert (file.findings.listed[1], file.findings.loaded[1]) == (2, 1)
    assert file.findings.left_out == {(1, "no polygon with three points"): 1}


def test_a_flat_list_is_one_polygon(tmp_path: Path):
    file = read(tmp_path, square(segmentation=SQUARE))
    assert file.annotations[0]["segmentation"] == [SQUARE]
    assert "flat list" in file.findings.sentences()[0]


def test_ids_written_as_another_type_are_matched(tmp_path: Path):
    file = read(tmp_path, square(image_id="1", category_id="1"))
    assert (file.annotations[0]["image_id"], file.annotations[0]["category_id"]) == (1, 1)
    assert len(file.findings.notes) == 2


def test_ids_that_two_types_share_are_not_guessed(tmp_path: Path):
    images = [{"id": id_, "file_name": f"{id_!r}.png", "height": 64, "width": 64} for id_ in (1, "1")]
    file = read(tmp_path, square(image_id=1), square(image_id="1"), images=images)
    assert [annotation["image_id"] for annotation in file.annotations] == [1, "1"]


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (square(segmentation=[]), "annotation 1 of a.png has a box but no mask"),
        (square(segmentation=None), "annotation 1 of a.png has a box but no mask"),
        (square(image_id=9), "annotation 1 belongs to image 9"),
        (square(image_id=[1]), r"belongs to image \[1\]"),
        (square(category_id=9), "annotation 1 of a.png belongs to category 9"),
        (square(iscrowd="false"), "has iscrowd 'false'"),
        (square(segmentation=[["4", "4", "24", "4", "24", "24"]]), "no list of numbers"),
        (square(segmentation=[[float("nan")] * 6]), "no list of numbers"),
        (square(segmentation="square"), "of type str"),
        (square(segmentation=runs(size=[32, 64])), r"mask of size \[32, 64\]"),
        (square(segmentation=runs(size=[10**12, 64])), "mask of size"),
        (square(segmentation=runs(counts=[1, 2])), "do not add up to the 4096 pixels"),
        (square(segmentation=runs(counts=[-4096, 8192])), "do not add up"),
        (square(segmentation={"size": [64, 64]}), 'without "counts"'),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_annotation(tmp_path: Path, annotation: Any, says: str):
    file = read(tmp_path, annotation, square())
    (problem,) = file.findings.problems
    assert problem.file.endswith("i.json")
    with pytest.raises(ValueError, match=says):
        file.findings.settle("mine")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"images": [{"id": 1, "file_name": "a.png", "height": 64}]}, "gives image a.png the width None"),
        ({"images": [{"id": 1, "file_name": 3, "height": 64, "width": 64}]}, "gives image 1 the file_name 3"),
        (
            {"images": [{"id": id_, "file_name": "a.png", "height": 64, "width": 64} for id_ in (1, 2)]},
            "gives a.png to two images, 1 and 2",
        ),
    ],
)
def test_images_that_cannot_be_used_are_named(tmp_path: Path, content: Any, says: str):
    assert says in read(tmp_path, square(), **content).findings.problems[0].message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"images": None}, '"images" should be a list, it is missing or null'),
        ({"annotations": {}}, '"annotations" should be a list, it is a dict'),
        ({"annotations": [3]}, 'entry 0 of "annotations" should be an object, it is a int'),
        ({"images": [{"id": 1}, {"id": 1}]}, '"images" lists the id 1 twice'),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, '"categories" lists the id 1 twice'),
        ({"categories": [{"id": "1", "name": "a"}]}, "category id '1' should be an integer"),
        ({"categories": [{"id": 1, "name": None}]}, "category 1 should have a name"),
        ({"categories": [{"id": 1, "name": "a", "color": [1, 2]}]}, r"category 1 has the color \[1, 2\]; a color is"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: Any, says: str):
    with pytest.raises(ValueError, match=rf"i\.json: {says}"):
        read(tmp_path, square(), **content)


def test_a_class_of_crowds_alone_is_told(tmp_path: Path):
    file = read(tmp_path, square(iscrowd=1, segmentation=runs()), square(category_id=2))
    (sentence,) = file.findings.sentences()
    assert "every object is a crowd region" in sentence
    assert '"cat" with 1' in sentence
    assert file.findings.loaded == {2: 1}


def test_a_category_that_only_heads_others_is_no_class(tmp_path: Path):
    """Roboflow lists the project as category 0, often under the name of its only class."""
    categories = [
        {"id": 0, "name": "cells", "supercategory": "none"},
        {"id": 1, "name": "cells", "supercategory": "cells"},
    ]
    assert list(read(tmp_path, square(), categories=categories).categories) == [1]
    used = read(tmp_path, square(category_id=0), categories=categories)
    assert list(used.categories) == [0, 1]


def test_pycocotools_reads_the_result(tmp_path: Path):
    file = read(
        tmp_path,
        square(id=0, area=None, segmentation=SQUARE),
        square(id=0, iscrowd=None, segmentation=runs()),
        square(segmentation=[[1, 1], SQUARE], image_id="1"),
    )
    coco = COCO()
    coco.dataset = file.as_coco()
    coco.createIndex()
    masks = [coco.annToMask(annotation) for annotation in coco.anns.values()]
    assert len(masks) == 3
    assert all(np.array_equal(mask, masks[0]) for mask in masks)
    assert masks[0].sum() == 400


def test_a_normal_file_is_left_as_it_is(tmp_path: Path):
    given = [square(id=5, extra={"a": 1}), square(id=9, category_id=2, segmentation=runs(), iscrowd=1)]
    file = read(tmp_path, *given)
    assert file.annotations == [{**annotation, "id": number} for number, annotation in enumerate(given, start=1)]
    assert not file.findings.problems


PANOPTIC = PanopticJson(
    categories={1: {"id": 1, "name": "Cat", "isthing": 1}, 2: {"id": 2, "name": "sky", "isthing": 0}},
    annotations={1: {}},
    images={},
)


@pytest.mark.parametrize(
    ("categories", "image", "says"),
    [
        ([{"id": 1, "name": "cat"}], 1, None),
        ([{"id": 1, "name": "dog"}], 1, 'calls category 1 "dog", but the panoptic JSON calls it "Cat"'),
        ([{"id": 3, "name": "cat"}, {"id": 1, "name": "cat"}], 1, "has a category 3, which the panoptic JSON does not"),
        ([{"id": 1, "name": "cat"}], 2, "has no image 1, which the panoptic JSON annotates"),
    ],
)
def test_instances_agree_with_the_panoptic_file_by_name(tmp_path: Path, categories: Any, image: int, says: str | None):
    images = [{"id": image, "file_name": "a.png", "height": 64, "width": 64}]
    file = read(tmp_path, square(image_id=image), categories=categories, images=images)
    findings = Findings()
    compare_instances(PANOPTIC, file, findings)
    assert [says in problem.message for problem in findings.problems] == ([True] if says else [])
