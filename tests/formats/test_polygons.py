"""Outlines: exact to the pixel by COCO's rasteriser, valid shapes, few corners where asked."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from fcclip.formats.polygons import join_rings, mask_polygons, polygon_ring


def fill(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: what pycocotools makes of polygons."""
    flat = [ring.astype(float).ravel().tolist() for ring in rings]
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, *size))).astype(bool)


def random_masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 24, (60, 2)).tolist()
    return [mask for size in sizes if (mask := rng.random(size) < rng.random()).any()]


def test_a_rectangle() -> None:
    (polygon,) = mask_polygons(np.ones((2, 3), bool), offset=(10, 20))
    assert polygon.outer.tolist() == [[10, 20], [13, 20], [13, 22], [10, 22]]
    assert polygon.holes == ()
    assert mask_polygons(np.zeros((4, 4), bool)) == []


def test_any_mask_comes_back_as_it_was() -> None:
    for mask in random_masks():
        polygons = mask_polygons(mask)
        assert np.array_equal(fill([polygon_ring(polygon) for polygon in polygons], mask.shape), mask)
        rings = [ring for polygon in polygons for ring in (polygon.outer, *polygon.holes)]
        assert np.array_equal(fill([join_rings(rings)], mask.shape), mask), "all in one ring"


def test_holes_and_parts() -> None:
    mask = np.ones((9, 9), bool)
    mask[2:7, 2:7] = False
    mask[4, 4] = True  # an island in the hole
    outer, island = sorted(mask_polygons(mask), key=lambda polygon: len(polygon.holes), reverse=True)
    assert [sorted(ring.tolist()) for ring in outer.holes] == [[[2, 2], [2, 7], [7, 2], [7, 7]]]
    assert island.outer.tolist() == [[4, 4], [5, 4], [5, 5], [4, 5]]


def test_parts_that_touch_at_a_corner_are_apart() -> None:
    assert len(mask_polygons(np.eye(3, dtype=bool))) == 3
    loop = np.ones((3, 3), bool)
    loop[1, 1] = loop[0, 0] = False  # the hole touches the outside at a corner
    (polygon,) = mask_polygons(loop)
    assert len(polygon.holes) == 1


def test_shapes_are_valid() -> None:
    shapely = pytest.importorskip("shapely", reason="an independent judge of polygons")
    for mask in random_masks():
        for polygon in mask_polygons(mask):
            shape = shapely.Polygon(polygon.outer, polygon.holes)
            assert shape.is_valid
            assert shape.exterior.is_ccw
        area = sum(shapely.Polygon(polygon.outer, polygon.holes).area for polygon in mask_polygons(mask))
        assert area == mask.sum()


def test_tolerance_spares_corners_and_crumbs() -> None:
    rows, columns = np.mgrid[:200, :200]
    disc = (rows - 100) ** 2 + (columns - 100) ** 2 < 80**2
    disc[5, 5] = disc[190:192, 3:5] = True
    disc[100, 100] = False
    exact, simple = mask_polygons(disc), mask_polygons(disc, tolerance=1)
    assert len(exact) == 3
    assert sorted(len(polygon.holes) for polygon in exact) == [0, 0, 1]
    assert [len(polygon.holes) for polygon in simple] == [0, 0], "without the single pixels"
    assert max(len(polygon.outer) for polygon in simple) < 0.2 * max(len(polygon.outer) for polygon in exact)
    filled = fill([polygon.outer for polygon in simple], disc.shape)
    assert (filled & disc).sum() / (filled | disc).sum() > 0.97
    assert filled[190, 3]
    assert len(mask_polygons(np.ones((1, 1), bool), tolerance=5)) == 1, "an object is never lost"
