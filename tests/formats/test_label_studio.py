"""Label Studio's tasks: brush strokes exact, polygons in percent."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fcclip.formats.label_studio import brush_rle
from tests.formats.samples import HEIGHT, WIDTH, panoptic_map, sample


def decode(rle: list[int]) -> np.ndarray:
    """The values of a brush, read bit by bit as the published packing says."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    position = 0

    def read(size: int) -> int:
        nonlocal position
        position += size
        return int(bits[position - size : position], 2)

    count, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        alike = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if alike else [read(word) for _ in range(length)]
    return np.array(values)


@pytest.mark.parametrize("size", [(1, 1), (48, 64), (200, 300)])
def test_brush_comes_back(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for mask in (rng.random(size) < 0.3, np.ones(size, bool), np.zeros(size, bool)):
        values = decode(brush_rle(mask)).reshape(*size, 4)
        assert np.array_equal(values > 0, np.repeat(mask[..., None], 4, axis=2))
        assert set(np.unique(values)) <= {0, 255}


def test_tasks_and_configuration(tmp_path: Path) -> None:
    tasks, config = sample().export(tmp_path, "label-studio", "photo.jpg")
    (task,) = json.loads(tasks.read_text())
    assert task["data"] == {"image": "photo.jpg"}
    (prediction,) = task["predictions"]
    regions = prediction["result"]
    assert [region["value"]["brushlabels"] for region in regions] == [["cat"], ["traffic light"], ["sky"]]
    assert prediction["score"] == pytest.approx(0.75)
    for region, index in zip(regions, (1, 3, 7), strict=True):
        assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)
        values = decode(region["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)[..., 3]
        assert np.array_equal(values > 0, panoptic_map() == index)
    view = ElementTree.fromstring(config.read_text())
    assert [label.get("value") for label in view.iter("Label")] == ["cat", "traffic light", "sky", "wall"]


def test_polygons_are_percent(tmp_path: Path) -> None:
    tasks, config = sample().export(tmp_path, "label-studio-polygons", tolerance=0)
    (task,) = json.loads(tasks.read_text())
    regions = task["predictions"][0]["result"]
    assert [region["value"]["polygonlabels"][0] for region in regions] == [
        *["cat"] * 2,
        *["traffic light"] * 2,
        "sky",
    ]
    assert regions[-1]["value"]["points"] == [[0, 0], [100, 0], [100, 25], [0, 25]]
    assert "PolygonLabels" in config.read_text()


def test_the_sdk_reads_it(tmp_path: Path) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="the SDK is an independent reader")
    tasks, _ = sample().export(tmp_path, "label-studio")
    (task,) = json.loads(tasks.read_text())
    regions = task["predictions"][0]["result"]
    for region, index in zip(regions, (1, 3, 7), strict=True):
        values = brush.decode_rle(region["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)
        assert np.array_equal(values[..., 3] > 0, panoptic_map() == index)


@pytest.mark.parametrize("name", ["label-studio", "label-studio-polygons"])
def test_the_sdk_accepts_the_tasks_for_the_configuration(tmp_path: Path, name: str) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason="the SDK is an independent judge")
    tasks, config = sample().export(tmp_path, name)
    labels = interface.LabelInterface(config.read_text())
    (task,) = json.loads(tasks.read_text())
    (prediction,) = task["predictions"]
    assert labels.validate_prediction(prediction, return_errors=True) == []
    prediction["result"][0]["value"][prediction["result"][0]["type"]] = ["wolf"]
    assert labels.validate_prediction(prediction, return_errors=True) != [], "the judge does judge"
