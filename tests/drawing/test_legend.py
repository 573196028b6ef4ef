"""The legend."""

import numpy as np

from fcclip.drawing.legend import Entry, add_legend

ENTRIES = [Entry(f"class {index}", (20 * index, 100, 0)) for index in range(1, 10)]


def test_every_color_is_listed_below_the_picture() -> None:
    picture = np.full((50, 300, 3), 7, np.uint8)
    whole = add_legend(picture, ENTRIES, 12)
    assert np.array_equal(whole[:50], picture)
    assert whole.shape[1] == 300
    colors = {tuple(color) for color in whole[50:].reshape(-1, 3).tolist()}
    assert {entry.color for entry in ENTRIES} <= colors


def test_narrow_pictures_and_long_names() -> None:
    whole = add_legend(np.zeros((20, 30, 4), np.uint8), [Entry("a very long name of a class" * 5, (1, 2, 3))], 10)
    assert whole.shape[1:] == (120, 4)
    assert (whole[20:, -3:, :3] == 255).all(), "the name is shortened"
    assert add_legend(np.zeros((20, 30, 3), np.uint8), [], 10).shape == (20, 30, 3)
