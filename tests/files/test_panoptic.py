"""Reading and writing of the COCO panoptic format."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.files.atomic import atomic_path
from fcclip.files.panoptic import (
    id_to_rgb,
    measure_segments,
    read_panoptic_json,
    read_panoptic_png,
    rgb_to_id,
    write_panoptic_json,
    write_panoptic_png,
)
from tests.shared import SHARED, needs_shared


def test_colours_are_little_endian_bytes_of_ids():
    ids = np.array([[0, 1, 255], [256, 65536, 2**24 - 1]])
    rgb = id_to_rgb(ids)
    assert rgb[0, 2].tolist() == [255, 0, 0]
    assert rgb[1].tolist() == [[0, 1, 0], [0, 0, 1], [255, 255, 255]]
    assert np.array_equal(rgb_to_id(rgb), ids)


@pytest.mark.parametrize("bad", [-1, 2**24])
def test_ids_beyond_three_bytes_are_refused(bad):
    with pytest.raises(ValueError, match="segment ids must lie in"):
        id_to_rgb(np.array([[bad]]))


def test_png_round_trip(tmp_path: Path):
    ids = np.random.default_rng(0).integers(0, 2**24, (7, 5)).astype(np.int32)
    write_panoptic_png(tmp_path / "made" / "a.png", ids)
    back = read_panoptic_png(tmp_path / "made" / "a.png")
    assert back.dtype == np.int32
    assert np.array_equal(back, ids)


def test_png_errors(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"none\.png does not exist"):
        read_panoptic_png(tmp_path / "none.png")
    Image.new("L", (2, 2)).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"grey\.png is no RGB image"):
        read_panoptic_png(tmp_path / "grey.png")
    write_panoptic_png(tmp_path / "whole.png", np.arange(10000).reshape(100, 100))
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut\.png is not a readable image"):
        read_panoptic_png(tmp_path / "cut.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="not a readable image"):
        read_panoptic_png(tmp_path / "text.png")


def test_json_round_trip(tmp_path: Path):
    annotation = {"image_id": 3, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 2}]}
    write_panoptic_json(tmp_path / "p.json", [annotation], [{"id": 2, "name": "sky", "isthing": 0}])
    content = read_panoptic_json(tmp_path / "p.json")
    assert content.annotations == {3: annotation}
    assert content.categories[2]["name"] == "sky"
    assert content.images == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not a JSON file"),
        ("[]", "holds a list, not an object"),
        (json.dumps({"annotations": [{"image_id": 1, "file_name": "a.png"}]}), "an annotation has no segments_info"),
        (
            json.dumps({"annotations": [{"image_id": 1, "file_name": "a", "segments_info": []}] * 2}),
            "image 1 has two annotations",
        ),
        (
            json.dumps({"annotations": [{"image_id": 1, "file_name": "a", "segments_info": [{"id": 3}]}]}),
            "segment 3 has category_id None; it should be an integer",
        ),
    ],
)
def test_json_errors(tmp_path: Path, content: str, message: str):
    (tmp_path / "bad.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_panoptic_json(tmp_path / "bad.json")


def test_described_segments_have_area_and_box():
    ids = np.zeros((4, 6), np.int32)
    ids[1:3, 2:5] = 9
    (segment,) = measure_segments(ids, [{"id": 9, "category_id": 4}])
    assert segment == {"id": 9, "category_id": 4, "area": 6, "bbox": [2, 1, 3, 2], "iscrowd": 0}
    with pytest.raises(ValueError, match="segment 8 has no pixel"):
        measure_segments(ids, [{"id": 8}])


@needs_shared
def test_published_annotations_describe_themselves():
    folder = SHARED / "data" / "coco_panoptic_sample"
    for annotation in read_panoptic_json(folder / "panoptic.json").annotations.values():
        ids = read_panoptic_png(folder / "panoptic" / annotation["file_name"])
        assert measure_segments(ids, annotation["segments_info"]) == annotation["segments_info"]


def test_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as scratch:
            scratch.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 colours of shape \(\.\.\., 3\), got int64 \(2, 3\)"):
        rgb_to_id(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"expected an \(H, W\) map of segment ids, got shape \(2, 3, 1\)"):
        write_panoptic_png(tmp_path / "a.png", np.zeros((2, 3, 1), np.int32))
    assert list(tmp_path.iterdir()) == []
