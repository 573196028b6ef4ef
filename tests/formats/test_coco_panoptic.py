"""COCO panoptic for many pictures."""

from pathlib import Path

import numpy as np
import pytest

from fcclip.files.panoptic import read_panoptic_json, read_panoptic_png
from fcclip.formats.coco_panoptic import CocoPanoptic
from tests.formats.samples import only, panoptic_map, sample


def test_one_json_describes_all_pictures(tmp_path: Path) -> None:
    writer = CocoPanoptic(tmp_path)
    for name in ("a.jpg", "sub/b.jpg"):
        (png,) = writer.add(sample(), name)
        assert np.array_equal(read_panoptic_png(png), panoptic_map())
    (path,) = writer.finish()
    content = read_panoptic_json(path)
    assert [record["file_name"] for record in content.annotations.values()] == ["a.png", "sub/b.png"]
    assert content.images[2]["file_name"] == "sub/b.jpg"
    assert [info["id"] for info in content.annotations[2]["segments_info"]] == [1, 3, 7]


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    writer = CocoPanoptic(tmp_path)
    writer.add(sample(), "a.jpg")
    with pytest.raises(ValueError, match=r"a\.jpg and panoptic/a\.png"):
        writer.add(sample(), "a.png")


def test_a_panoptic_result_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PANOPTIC_ON"):
        only("semantic").export(tmp_path, "coco-panoptic")
    assert list(tmp_path.iterdir()) == []


def test_datumaro_reads_it(tmp_path: Path) -> None:
    datumaro = pytest.importorskip("datumaro.components.dataset", reason="datumaro is an independent reader")
    from PIL import Image

    root = tmp_path / "coco"
    files = sample().export(root / "annotations", "coco-panoptic", "a.jpg")
    (root / "annotations" / "panoptic").rename(root / "annotations" / "panoptic_train")
    files[-1].rename(root / "annotations" / "panoptic_train.json")
    (root / "images" / "train").mkdir(parents=True)
    Image.fromarray(sample().image).save(root / "images" / "train" / "a.jpg")
    (item,) = datumaro.Dataset.import_from(str(root), "coco_panoptic")
    masks = {mask.id: mask.image.astype(bool) for mask in item.annotations}
    assert sorted(masks) == [1, 3, 7]
    assert all(np.array_equal(mask, panoptic_map() == index) for index, mask in masks.items())
