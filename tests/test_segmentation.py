"""The result object: what it accepts, and the forms in which it leaves the program."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcclip.files.panoptic import read_panoptic_json, read_panoptic_png
from fcclip.formats.result import Instances, Segment, describe_segments
from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Category, Vocabulary

VOCABULARY = Vocabulary.from_string("cat,kitten; dog; sky,clouds=stuff")
WARNING = "RANDOM WEIGHTS"


def panoptic_map() -> np.ndarray:
    """Two cats (ids 1, 2) below a sky (id 5), and a strip of nothing; 40 x 60."""
    ids = np.zeros((40, 60), np.int32)
    ids[:15] = 5
    ids[20:35, 5:25] = 1
    ids[25:40, 30:55] = 2
    return ids


def segments() -> tuple[Segment, ...]:
    records = [
        {"id": 1, "category_id": 0, "isthing": True},
        {"id": 2, "category_id": 0, "isthing": True},
        {"id": 5, "category_id": 2, "isthing": False},
    ]
    return describe_segments(panoptic_map(), records, [0.9, 0.4, 0.7], VOCABULARY)


def instances() -> Instances:
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 20:35, 5:25] = True
    masks[1, 22:30, 10:40] = True
    boxes = np.array([[5, 20, 25, 35], [10, 22, 40, 30]], np.float32)
    return Instances(masks, boxes, np.array([0.3, 0.8], np.float32), np.array([0, 1]))


def segmentation(**changes: Any) -> Segmentation:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    semantic = np.where(panoptic_map() == 5, 2, 1).astype(np.int32)
    values = {"panoptic": panoptic_map(), "segments": segments(), "instances": instances(), "semantic": semantic}
    return Segmentation(image, VOCABULARY, **{**values, **changes})


def only(task: str, **changes: Any) -> Segmentation:
    off = {"panoptic": None, "segments": (), "instances": None, "semantic": None}
    on = {"panoptic": ("panoptic", "segments")}.get(task, (task,))
    return segmentation(**{key: value for key, value in off.items() if key not in on}, **changes)


def test_segments_are_completed_from_the_map() -> None:
    first, second, sky = segments()
    assert first == Segment(1, "cat", 0, True, 0.9, 300, (5, 20, 25, 35))
    assert second.box == (30, 25, 55, 40)
    assert sky == Segment(5, "sky", 2, False, 0.7, 900, (0, 0, 60, 15))


def test_a_record_without_pixels_is_an_error() -> None:
    for missing in (3, 9):
        record = {"id": missing, "category_id": 0, "isthing": True}
        with pytest.raises(ValueError, match=f"segment {missing} has no pixel"):
            describe_segments(panoptic_map(), [record], [0.5], VOCABULARY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"panoptic": np.zeros((40, 61), np.int32), "segments": ()}, r"panoptic map has shape \(40, 61\)"),
        ({"semantic": np.zeros((4, 4), np.int32)}, "semantic map has shape"),
        ({"semantic": np.full((40, 60), 3, np.int32)}, "class 3 is not among the vocabulary's 3"),
        ({"segments": segments()[:2]}, "are not those of the panoptic map"),
        ({"panoptic": None}, "are not those of the panoptic map"),
        ({"panoptic": None, "segments": (), "instances": None, "semantic": None}, "switch on"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        segmentation(**changes)


def test_images_and_instances_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Segmentation(np.zeros((4, 4, 3), np.float32), VOCABULARY, semantic=np.zeros((4, 4), np.int32))
    found = instances()
    with pytest.raises(ValueError, match="bool array"):
        Instances(found.masks.astype(np.uint8), found.boxes, found.scores, found.category_ids)
    with pytest.raises(ValueError, match="do not fit"):
        Instances(found.masks[:1], found.boxes, found.scores, found.category_ids)
    with pytest.raises(ValueError, match="instance masks have shape"):
        Segmentation(np.zeros((4, 4, 3), np.uint8), VOCABULARY, instances=found)


def test_above_drops_what_scores_less() -> None:
    kept = segmentation().above(0.7)
    assert [segment.id for segment in kept.segments] == [1, 5]
    assert kept.panoptic is not None
    assert np.array_equal(kept.panoptic, np.where(panoptic_map() == 2, 0, panoptic_map()))
    assert kept.instances is not None
    assert kept.instances.scores.tolist() == pytest.approx([0.8])
    assert kept.semantic is not None
    everything = segmentation().above(0)
    assert len(everything.segments) == 3
    nothing = segmentation().above(1)
    assert nothing.segments == ()
    assert nothing.panoptic is not None
    assert not nothing.panoptic.any()


def test_names_of_what_is_drawn() -> None:
    assert segmentation().names() == ["cat", "sky"]
    assert only("semantic").names() == ["dog", "sky"]
    assert only("instances").names() == ["cat", "dog"]


@pytest.mark.parametrize("task", ["panoptic", "semantic", "instances"])
def test_each_task_can_be_drawn(task: str) -> None:
    result = only(task)
    drawn = result.draw(alpha=1)
    assert drawn.shape == result.image.shape
    changed = (drawn != result.image).any(axis=-1)
    inside = {"panoptic": result.panoptic != 0, "semantic": np.ones((40, 60), bool)}.get(
        task, instances().masks.any(axis=0)
    )
    assert changed[inside].mean() > 0.95


def test_colors_of_the_vocabulary_are_used() -> None:
    vocabulary = Vocabulary((Category(("a",), True, (10, 200, 30)), Category(("b",), True, (1, 2, 3))))
    image = np.zeros((50, 50, 3), np.uint8)
    semantic = np.zeros((50, 50), np.int32)
    drawn = Segmentation(image, vocabulary, semantic=semantic).draw(alpha=1)
    assert (drawn[2, 2] == (10, 200, 30)).all()


def test_random_weights_are_told_in_every_form(tmp_path: Path) -> None:
    for task in ("panoptic", "semantic", "instances"):
        result = only(task, random_weights=True)
        assert WARNING in result.table()
        assert result.to_dict()["random_weights"] is True
        banner = (result.draw() != only(task).draw()).any(axis=(1, 2))
        assert banner[:8].all(), "a banner across the top"
        assert WARNING not in only(task).table()


def test_tables() -> None:
    lines = segmentation().table().splitlines()
    assert lines[0].split() == ["id", "name", "kind", "score", "area", "box"]
    assert lines[2].split() == ["5", "sky", "stuff", "0.700", "37.5%", "0", "0", "60", "15"]
    assert len(lines) == 5
    assert only("semantic").table().splitlines()[2].split() == ["dog", "thing", "62.5%"]
    assert only("instances").table().splitlines()[2].split()[:3] == ["dog", "0.800", "10.0%"]
    assert only("panoptic", panoptic=np.zeros((40, 60), np.int32), segments=()).table() == "nothing found"


def test_dict_is_json_and_complete() -> None:
    content = json.loads(json.dumps(segmentation().to_dict()))
    assert (content["height"], content["width"], content["random_weights"]) == (40, 60, False)
    assert content["segments"][0] == {
        "id": 1,
        "name": "cat",
        "category_id": 0,
        "is_thing": True,
        "score": 0.9,
        "area": 300,
        "box": [5, 20, 25, 35],
    }
    assert content["instances"][1]["name"] == "dog"
    assert content["instances"][1]["area"] == 240
    assert content["instances"][1]["box"] == [10, 22, 40, 30]
    assert content["semantic"] == [
        {"name": "dog", "category_id": 1, "area": 1500},
        {"name": "sky", "category_id": 2, "area": 900},
    ]
    assert set(only("semantic").to_dict()) == {"height", "width", "random_weights", "semantic"}


def test_save_writes_the_picture_drawn(tmp_path: Path) -> None:
    result = segmentation()
    result.save(tmp_path / "new" / "picture.png", alpha=0.5)
    with Image.open(tmp_path / "new" / "picture.png") as image:
        assert np.array_equal(np.array(image), result.draw(alpha=0.5))
    with pytest.raises(ValueError, match=r"use \.png or \.jpg"):
        result.save(tmp_path / "picture.doc")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_coco_panoptic_files_are_not_written_over(tmp_path: Path) -> None:
    _, path = segmentation().to_coco_panoptic(tmp_path)
    before = path.read_text()
    with pytest.raises(FileExistsError, match="is there already; give each picture a name of its own"):
        segmentation().above(0.5).to_coco_panoptic(tmp_path)
    assert path.read_text() == before
    segmentation().above(0.5).to_coco_panoptic(tmp_path, overwrite=True)
    assert path.read_text() != before
    with pytest.raises(ValueError, match='"../x" leads out of the folder'):
        segmentation().to_coco_panoptic(tmp_path, "../x")


@pytest.mark.parametrize("score", ["0.5", -0.1, 1.5, float("nan"), None])
def test_a_threshold_is_a_probability(score: Any) -> None:
    with pytest.raises(ValueError, match="a score is a number from 0 to 1, not"):
        segmentation().above(score)


def test_coco_panoptic_files_read_back(tmp_path: Path) -> None:
    png, path = segmentation().to_coco_panoptic(tmp_path, "photo", image_id=42)
    assert np.array_equal(read_panoptic_png(png), panoptic_map())
    content = read_panoptic_json(path)
    annotation = content.annotations[42]
    assert annotation["file_name"] == png.name == "photo.png"
    assert [info["id"] for info in annotation["segments_info"]] == [1, 2, 5]
    assert annotation["segments_info"][0]["bbox"] == [5, 20, 20, 15]
    assert {info["iscrowd"] for info in annotation["segments_info"]} == {0}
    for info in annotation["segments_info"]:
        assert info["area"] == (panoptic_map() == info["id"]).sum()
        assert content.categories[info["category_id"]]["name"] in ("cat", "sky")
    assert [category["isthing"] for category in content.categories.values()] == [1, 1, 0]
    assert content.images[42] == {"id": 42, "file_name": "photo", "height": 40, "width": 60}


def test_coco_panoptic_files_are_scored_by_another_reader(tmp_path: Path) -> None:
    panoptic = pytest.importorskip("hotcoco.panoptic", reason="hotcoco is the independent reader")
    _, truth = segmentation().to_coco_panoptic(tmp_path / "truth", "photo")
    _, partial = segmentation().above(0.5).to_coco_panoptic(tmp_path / "partial", "photo")
    folders = {"gt_folder": str(truth.parent), "pred_folder": str(truth.parent)}
    assert panoptic.pq_compute(str(truth), str(truth), **folders)["All"]["pq"] == pytest.approx(1)
    folders["pred_folder"] = str(partial.parent)
    scores = panoptic.pq_compute(str(truth), str(partial), **folders)
    assert scores["Stuff"]["pq"] == pytest.approx(1)
    assert scores["Things"]["pq"] == pytest.approx(1 / 1.5), "one of two cats is lost"


def test_coco_panoptic_needs_a_panoptic_result(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PANOPTIC_ON"):
        only("semantic").to_coco_panoptic(tmp_path)
