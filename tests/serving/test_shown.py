"""What the page shows of a result."""

import base64
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcclip.drawing.style import DrawStyle
from fcclip.serving import shown
from fcclip.serving.shown import encode_map, shown_result
from fcclip.vocabulary import Vocabulary
from tests.formats.samples import HEIGHT, WIDTH, only, panoptic_map, sample

PLAIN = DrawStyle(view="panoptic", labels="none", alpha=1)


def pixels(address: str) -> np.ndarray:
    """The picture that an address holds."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def ids_of(value: dict[str, Any]) -> np.ndarray:
    """The map of ids, as page.js reads it."""
    channels = pixels(value["map"]).astype(int)
    return channels[..., 0] + 256 * channels[..., 1]


def test_rows_of_segments_are_sorted_by_area() -> None:
    value = shown_result(sample(), PLAIN)
    areas = {id_: 100 * (panoptic_map() == id_).mean() for id_ in (1, 3, 7)}
    assert [(row["id"], row["name"], row["kind"], row["score"]) for row in value["rows"]] == [
        (7, "sky", "stuff", "0.75"),
        (1, "cat", "thing", "0.90"),
        (3, "traffic light", "thing", "0.60"),
    ]
    assert [row["area"] for row in value["rows"]] == [f"{areas[id_]:.1f} %" for id_ in (7, 1, 3)]
    assert value["caption"] == "3 segments, the largest first"
    assert value["ratio"] == pytest.approx(WIDTH / HEIGHT, abs=1e-3)
    assert json.loads(json.dumps(value)) == value


def test_the_map_holds_the_ids_and_the_picture_the_colours_of_the_rows() -> None:
    value = shown_result(sample(), PLAIN)
    assert np.array_equal(ids_of(value), panoptic_map())
    sky = value["rows"][0]["color"]
    painted = pixels(value["picture"])[3:8, 3:60].reshape(-1, 3).mean(axis=0)
    assert np.abs(painted - [int(sky[at : at + 2], 16) for at in (1, 3, 5)]).max() < 3


def test_instances_lie_as_they_are_drawn() -> None:
    value = shown_result(sample(), DrawStyle(view="instances"))
    assert [(row["name"], row["score"]) for row in value["rows"]] == [("cat", "0.80"), ("traffic light", "0.30")]
    assert ids_of(value)[30, 24] == 1, "the more certain lies on top"
    assert value["caption"].startswith("2 objects")


def test_classes_have_no_score() -> None:
    value = shown_result(only("semantic"), DrawStyle())
    assert {row["score"] for row in value["rows"]} == {"–"}
    assert value["caption"] == "4 classes, the largest first"
    assert np.array_equal(ids_of(value), only("semantic").semantic + 1)


def test_nothing_found() -> None:
    empty = sample(panoptic=np.zeros((HEIGHT, WIDTH), np.int32), segments=())
    value = shown_result(empty, DrawStyle())
    assert value["rows"] == []
    assert value["caption"] == "Nothing was found by these names."
    assert not ids_of(value).any()


def test_a_large_picture_is_shown_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MOST_SIDE", 32)
    value = shown_result(sample(), PLAIN)
    assert pixels(value["picture"]).shape == (24, 32, 3)
    assert set(np.unique(ids_of(value))) == {0, 1, 3, 7}
    assert value["rows"][0]["area"] == "25.0 %", "areas are those of the whole picture"


def test_the_description_names_the_largest_and_stays_short() -> None:
    assert shown_result(sample(), PLAIN)["alt"].endswith("sky, 25.0 %; cat, 18.6 %; traffic light, 2.3 %.")
    long = Vocabulary.from_class_strings([f"{letter * 150}" for letter in "abcd"])
    assert len(shown_result(replace(sample(), vocabulary=long), DrawStyle(view="semantic"))["alt"]) < 400


def test_ids_beyond_a_byte() -> None:
    picture = np.array(Image.open(io.BytesIO(encode_map(np.array([[0, 258, 65535, 7]]), {258, 65535}))))
    assert picture.tolist() == [[[0, 0, 0], [2, 1, 0], [255, 255, 0], [0, 0, 0]]]
