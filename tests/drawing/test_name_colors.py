"""Colours belong to names, and differ."""

import colorsys
from itertools import combinations

import numpy as np
import pytest

from fcclip.data.builtin_vocabularies import builtin_vocabulary
from fcclip.drawing.name_colors import COLOR_BLIND, vocabulary_colors

# What an eye without the green cones sees, in linear light. Source: Machado et al., 2009, severity 1.
DEUTERANOPIA = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])


def hue(color: tuple[int, int, int]) -> float:
    """Degrees."""
    return 360 * colorsys.rgb_to_hsv(*color)[0]


def test_a_name_keeps_its_color() -> None:
    alone = vocabulary_colors(("giraffe",))
    assert vocabulary_colors(("giraffe", "cat", "sofa"))[0] == alone[0]
    assert vocabulary_colors(("cat", "sofa", "giraffe"))[2] == alone[0]
    assert vocabulary_colors(("Giraffe",)) == alone


@pytest.mark.parametrize(
    ("name", "degrees"), [("purple heart", 285), ("red car", 0), ("Yellow taxi", 50), ("dark green bush", 130)]
)
def test_a_color_in_a_name_is_its_color(name: str, degrees: float) -> None:
    others = ("cat", "dog", "red brick", "purple ring", "green tree", "yellow bus")
    for names in ((name,), (*others, name)):
        gap = abs(hue(vocabulary_colors(names)[-1]) - degrees) % 360
        assert min(gap, 360 - gap) < 35, names


def test_words_within_words_are_no_colors() -> None:
    board = vocabulary_colors(("blackboard",))[0]
    assert max(board) > 100, "not black"


def test_no_two_classes_of_a_small_vocabulary_are_near() -> None:
    names = tuple(category.name for category in builtin_vocabulary("coco").categories[:20])
    for first, second in combinations(vocabulary_colors(names), 2):
        assert np.linalg.norm(np.subtract(first, second)) > 30, (first, second)


def test_all_classes_of_a_large_vocabulary_differ() -> None:
    names = tuple(category.name for category in builtin_vocabulary("coco").categories)
    assert len(set(vocabulary_colors(names))) == len(names)
    assert len(vocabulary_colors(("cat", "cat"))) == 2


def test_eight_colors_are_told_apart_without_green_cones() -> None:
    linear = (np.array(COLOR_BLIND) / 255) ** 2.2
    seen = np.clip(linear @ DEUTERANOPIA.T, 0, 1) ** (1 / 2.2) * 255
    assert min(np.linalg.norm(first - second) for first, second in combinations(seen, 2)) > 25
    chosen = vocabulary_colors(tuple("abcdefghijklmnop"), "color-blind")
    assert chosen[:8] == COLOR_BLIND
    assert len(set(chosen)) == 16
