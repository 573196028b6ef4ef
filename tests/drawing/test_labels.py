"""Labels in crowded pictures."""

import numpy as np
from PIL import Image

from fcclip.drawing.labels import Region, draw_labels


def grid(rows: int, columns: int, cell: int) -> tuple[np.ndarray, list[Region]]:
    ids = np.arange(1, rows * columns + 1).reshape(rows, columns)
    regions = [Region(int(value), f"name {value}", (0, 150, 0)) for value in ids.ravel()]
    return np.kron(ids, np.ones((cell, cell), np.int32)).astype(np.int32), regions


def test_a_crowded_small_picture_drops_labels() -> None:
    label_map, regions = grid(8, 8, 25)
    canvas = Image.new("RGB", (200, 200))
    left_out = draw_labels(canvas, label_map, regions, 10)
    written = np.array(canvas).any(axis=-1).mean()
    assert 0.05 < written < 0.25
    assert 0 < len(left_out) < 64


def test_where_there_is_room_all_are_written() -> None:
    label_map, regions = grid(3, 3, 100)
    assert draw_labels(Image.new("RGB", (300, 300)), label_map, regions, 12) == []


def test_the_largest_regions_keep_their_labels() -> None:
    label_map, regions = grid(10, 10, 20)
    label_map[:, :120] = 1
    regions = [region for region in regions if (label_map == region.value).any()]
    left_out = {region.value for region in draw_labels(Image.new("RGB", (200, 200)), label_map, regions, 10)}
    assert 1 not in left_out
    assert left_out


def test_a_label_touches_its_region() -> None:
    label_map = np.zeros((100, 300), np.int32)
    label_map[40:60, 10:20] = 1
    canvas = Image.new("RGB", (300, 100))
    draw_labels(canvas, label_map, [Region(1, "a name that is longer", (0, 0, 200))], 10)
    rows, columns = np.nonzero(np.array(canvas).any(axis=-1))
    if rows.size:
        assert columns.min() < 20
        assert rows.min() < 60
        assert rows.max() >= 40
