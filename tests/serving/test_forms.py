import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from fcclip.serving.forms import answer_record, drawn, in_format, one_view, plain_name
from fcclip.serving.models import Models
from fcclip.serving.sessions import Answer, Session
from tests.serving.conftest import picture


@pytest.fixture(scope="module")
def answer(models: Models) -> Answer:
    session = Session(models)
    session.show(picture(0))
    return session.ask("cat; dog; sky=stuff")


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("../../etc/my photo.jpg", "my_photo.jpg"),
        ("C:\\Users\\a\\b.PNG", "b.PNG"),
        ("photo.jpg", "photo.jpg"),
        ("-rf.png", "rf.png"),
        ("犬.png", "picture.png"),
        ('a";b.png', "a__b.png"),
        ("x" * 300 + ".jpg", "x" * 76 + ".jpg"),
        ("passwd", "picture.png"),
        ("..", "picture.png"),
        ("", "picture.png"),
        (None, "picture.png"),
    ],
)
def test_names_of_strangers_become_plain(given: str | None, plain: str) -> None:
    assert plain_name(given) == plain


def test_the_record_has_the_task_that_was_asked_for(answer: Answer) -> None:
    record = answer_record(answer, None, masks=True)
    assert (record["model"], record["names"]) == ("first", ["cat", "dog", "sky"])
    assert (record["height"], record["width"]) == (48, 64)
    assert record["segments"] == answer.segmentation.to_dict(masks=True)["segments"]
    assert "instances" not in record
    assert "segments" not in answer_record(answer, "semantic", masks=True)
    assert all("mask" not in one for one in answer_record(answer, "panoptic", masks=False)["segments"])


def test_a_task_that_was_not_computed_is_told(answer: Answer) -> None:
    only = one_view(answer.segmentation, "panoptic")
    assert only.semantic is None
    with pytest.raises(ValueError, match="there is no semantic result"):
        one_view(only, "semantic")


def test_the_drawn_picture_has_the_size_of_the_picture(answer: Answer) -> None:
    document = drawn(answer.segmentation, "panoptic", "photo.jpg")
    assert (document.media_type, document.name) == ("image/png", "photo.png")
    expected = one_view(answer.segmentation, "panoptic").draw()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(document.content))), expected)


def test_one_file_comes_as_it_is_and_several_as_a_zip(answer: Answer) -> None:
    one = in_format(answer.segmentation, "labelme", None, "photo.jpg")
    assert (one.media_type, one.name) == ("application/json", "photo.json")
    several = in_format(answer.segmentation, "coco-panoptic", "panoptic", "photo.jpg")
    assert (several.media_type, several.name) == ("application/zip", "photo_coco-panoptic.zip")
    names = zipfile.ZipFile(io.BytesIO(several.content)).namelist()
    assert len(names) > 1
    assert any(name.endswith("photo.png") for name in names)
