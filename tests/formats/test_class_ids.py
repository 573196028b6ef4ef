"""Label maps: numbers and palettes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.files.images import read_label_map
from fcclip.formats.class_ids import dataset_ids
from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Vocabulary
from tests.formats.samples import only, panoptic_map, sample


def test_positions_in_the_vocabulary(tmp_path: Path) -> None:
    (path,) = sample().export(tmp_path, "class-ids", "photo.jpg")
    assert np.array_equal(read_label_map(path), sample().semantic)
    with Image.open(path) as image:
        assert image.mode == "P"
        colors = np.array(image.convert("RGB"))
    assert {tuple(color) for color in colors[:12].reshape(-1, 3).tolist()} == {sample().color_of(2)}


def test_segments_have_a_void(tmp_path: Path) -> None:
    (path,) = only("panoptic").export(tmp_path, "class-ids")
    ids = panoptic_map()
    expected = np.select([ids == 1, ids == 3, ids == 7], [0, 1, 2], 255)
    assert np.array_equal(read_label_map(path), expected)
    with pytest.raises(ValueError, match="no panoptic or semantic"):
        only("instances").export(tmp_path, "class-ids")


def test_many_classes_need_sixteen_bits(tmp_path: Path) -> None:
    vocabulary = Vocabulary.from_class_strings(f"class {index}" for index in range(300))
    semantic = np.arange(300, dtype=np.int32).reshape(15, 20)
    result = Segmentation(np.zeros((15, 20, 3), np.uint8), vocabulary, semantic=semantic)
    (path,) = result.export(tmp_path, "class-ids")
    assert np.array_equal(read_label_map(path), semantic)


def test_conventions_of_datasets(tmp_path: Path) -> None:
    (path,) = sample().export(tmp_path, "cityscapes-ids")  # traffic light 19, sky 23, wall 12; no cat
    semantic = sample().semantic
    assert np.array_equal(read_label_map(path), np.select([semantic == 1, semantic == 2, semantic == 3], [19, 23, 12]))
    (path,) = sample().export(tmp_path, "ade20k-ids")  # wall is the first class, counted from 1
    found = read_label_map(path)
    assert np.unique(found[semantic == 3]).tolist() == [1]
    assert np.unique(found[semantic == 0]).tolist() == [0], "ADE20K has no cat"
    assert dataset_ids("cityscapes").ids["road"] == 7
    unknown = Segmentation(np.zeros((2, 2, 3), np.uint8), Vocabulary.from_string("wug"), semantic=np.zeros((2, 2), int))
    with pytest.raises(ValueError, match="none of the 1 names is a class of cityscapes"):
        unknown.export(tmp_path, "cityscapes-ids")
