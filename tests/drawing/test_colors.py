"""Colours are fixed, and differ between neighbours."""

from itertools import pairwise

import numpy as np

from fcclip.drawing.colors import class_color, vary_color


def test_colors_are_valid_and_reproducible() -> None:
    colors = np.array([class_color(index) for index in range(300)])
    assert colors.min() >= 0
    assert colors.max() <= 255
    assert class_color(7) == tuple(colors[7].tolist())


def test_no_two_of_the_first_hundred_classes_share_a_color() -> None:
    assert len({class_color(index) for index in range(100)}) == 100


def test_successive_classes_are_far_apart() -> None:
    for first, second in pairwise(range(60)):
        distance = np.linalg.norm(np.subtract(class_color(first), class_color(second)))
        assert distance > 60, (first, second)


def test_objects_of_a_class_differ_in_shade() -> None:
    color = class_color(3)
    shades = [vary_color(color, index) for index in range(7)]
    assert shades[0] == color
    assert len(set(shades)) == 7
    assert np.array(shades).min() >= 0
    assert np.array(shades).max() <= 255
