"""Polygons in pixels."""

import json
from pathlib import Path

import pytest

from tests.formats.samples import panoptic_map, sample


def test_geometries(tmp_path: Path) -> None:
    (path,) = sample().export(tmp_path, "geojson", "photo.jpg", tolerance=0)
    cat, light, sky = json.loads(path.read_text())["features"]
    assert [feature["geometry"]["type"] for feature in (cat, light, sky)] == ["MultiPolygon", "MultiPolygon", "Polygon"]
    assert sky["geometry"]["coordinates"] == [[[0, 0], [64, 0], [64, 12], [0, 12], [0, 0]]]
    assert sorted(len(polygon) for polygon in cat["geometry"]["coordinates"]) == [1, 2], "one part has a hole"
    assert (sky["properties"]["name"], sky["properties"]["score"]) == ("sky", 0.75)


def test_shapely_reads_it(tmp_path: Path) -> None:
    geometry = pytest.importorskip("shapely.geometry", reason="shapely is an independent reader")
    (path,) = sample().export(tmp_path, "geojson", tolerance=0)
    for feature in json.loads(path.read_text())["features"]:
        shape = geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert shape.area == feature["properties"]["area"] == (panoptic_map() == feature["properties"]["id"]).sum()
