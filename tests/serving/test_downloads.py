"""Files of the page: what they hold, and what they are called."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from fcclip.drawing.style import DrawStyle
from fcclip.serving.downloads import DOWNLOADS, make_download
from tests.formats.samples import HEIGHT, WIDTH, only, panoptic_map, sample

STYLE = DrawStyle(view="panoptic")


def test_a_picture_with_its_legend() -> None:
    file = make_download(sample(), STYLE, "PNG", "photo.jpg")
    assert (file.name, file.media_type) == ("photo_segmented.png", "image/png")
    height, width = np.array(Image.open(io.BytesIO(file.content))).shape[:2]
    assert (height > HEIGHT, width >= WIDTH) == (True, True)


def test_coco_and_labelme() -> None:
    coco = json.loads(make_download(sample(), STYLE, "COCO JSON", "photo.jpg").content)
    assert [annotation["area"] for annotation in coco["annotations"]] == [
        np.count_nonzero(panoptic_map() == id_) for id_ in (1, 3, 7)
    ]
    assert coco["images"][0]["file_name"] == "photo.jpg"
    labelme = make_download(sample(), STYLE, "LabelMe", "photo.jpg")
    assert labelme.name == "photo_labelme.json"
    assert json.loads(labelme.content)["imagePath"] == "photo.jpg"


def test_a_map_of_classes() -> None:
    file = make_download(sample(), STYLE, "Label map PNG")
    assert np.array_equal(np.array(Image.open(io.BytesIO(file.content))), sample().semantic)


def test_several_files_are_a_zip() -> None:
    file = make_download(sample(), STYLE, "COCO panoptic", "photo.jpg")
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        assert sorted(archive.namelist()) == ["panoptic.json", "panoptic/photo.png"]
    with pytest.raises(ValueError, match="no panoptic result"):
        make_download(only("semantic"), DrawStyle(), "COCO panoptic")


@pytest.mark.parametrize("kind", DOWNLOADS)
def test_names_end_as_their_content(kind: str) -> None:
    file = make_download(sample(), STYLE, kind)
    assert {".png": "image/png", ".json": "application/json", ".zip": "application/zip"}[
        f".{file.name.rpartition('.')[2]}"
    ] == file.media_type
