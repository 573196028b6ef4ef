"""LabelMe's files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.formats.samples import HEIGHT, WIDTH, panoptic_map, sample


def test_parts_of_an_object_are_a_group(tmp_path: Path) -> None:
    (path,) = sample().export(tmp_path, "labelme", "photo.jpg", tolerance=0)
    assert path.name == "photo.json"
    content = json.loads(path.read_text())
    assert (content["imagePath"], content["imageHeight"], content["imageWidth"]) == ("photo.jpg", HEIGHT, WIDTH)
    groups = [(shape["label"], shape["group_id"]) for shape in content["shapes"]]
    assert groups == [("cat", 1), ("cat", 1), ("traffic light", 3), ("traffic light", 3), ("sky", 7)]
    assert content["shapes"][-1]["points"] == [[0, 0], [64, 0], [64, 12], [0, 12]]


def test_labelme_reads_it(tmp_path: Path) -> None:
    reader = pytest.importorskip("labelme._label_file", reason="labelme is an independent reader")
    from labelme.utils import shape_to_mask

    Image.fromarray(sample().image).save(tmp_path / "photo.png")
    (path,) = sample().export(tmp_path, "labelme", "photo.png", tolerance=0)
    found = reader.LabelFile(str(path))
    masks = {1: np.zeros((HEIGHT, WIDTH), bool), 3: np.zeros((HEIGHT, WIDTH), bool), 7: np.zeros((HEIGHT, WIDTH), bool)}
    for shape in found.shapes:
        masks[shape["group_id"]] |= shape_to_mask((HEIGHT, WIDTH), shape["points"], shape["shape_type"])
    for index, mask in masks.items():
        truth = panoptic_map() == index
        assert (mask & truth).sum() == truth.sum(), "nothing is lost"
        assert mask.sum() < 1.35 * truth.sum(), "LabelMe's mask includes the outline, one pixel more"
    assert not masks[1][25, 14], "the hole stays open"
