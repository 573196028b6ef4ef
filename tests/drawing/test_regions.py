"""What is drawn: colours where the regions are, names that can be read, in pictures of any size."""

import numpy as np
import pytest

from fcclip.drawing.labels import OFF_WHITE, Region
from fcclip.drawing.regions import draw_regions
from fcclip.drawing.style import DrawStyle

GREY = 100


def picture(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def halves(height: int, width: int) -> np.ndarray:
    """1 in the left half, 2 in the right one."""
    label_map = np.ones((height, width), np.int32)
    label_map[:, width // 2 :] = 2
    return label_map


LEFT, RIGHT = Region(1, "", (200, 0, 0)), Region(2, "", (0, 0, 200))


def test_colors_are_blended_with_alpha() -> None:
    image = picture(100, 200)
    drawn = draw_regions(image, halves(100, 200), [LEFT, RIGHT], DrawStyle(alpha=0.25))
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert np.abs(drawn[50, 50].astype(int) - [125, 75, 75]).max() <= 1
    assert np.abs(drawn[50, 150].astype(int) - [75, 75, 125]).max() <= 1
    assert (image == GREY).all(), "the picture given is left alone"


def test_boundary_is_traced_between_regions_only() -> None:
    drawn = draw_regions(picture(100, 200), halves(100, 200), [LEFT, RIGHT])
    white = (drawn == OFF_WHITE).all(axis=-1)
    assert white[:, 98:103].any(axis=1).all()
    assert not white[:, :95].any()
    assert not white[:, 105:].any()


def test_values_without_a_region_stay_as_they_are() -> None:
    label_map = np.zeros((60, 60), np.int32)
    label_map[20:40, 20:40] = 1
    label_map[50:, 50:] = 9
    drawn = draw_regions(picture(60, 60), label_map, [LEFT, Region(7, "not in the map", (1, 2, 3))])
    outside = np.ones((60, 60), bool)
    outside[18:43, 18:43] = False
    assert (drawn[outside] == GREY).all()
    assert not (drawn[30, 30] == GREY).all()


def text_pixels(drawn: np.ndarray, label_map: np.ndarray, regions: list[Region]) -> np.ndarray:
    """(H, W) bool: pixels that differ from the same picture without labels."""
    silent = [Region(region.value, "", region.color, region.is_thing) for region in regions]
    return (drawn != draw_regions(picture(*label_map.shape), label_map, silent)).any(axis=-1)


def test_label_lies_in_the_widest_part_of_its_region() -> None:
    label_map = np.zeros((200, 300), np.int32)
    label_map[20:24, :] = 1  # a long thin arm
    label_map[100:180, 200:290] = 1  # the body
    regions = [Region(1, "cat", (0, 150, 0))]
    written = text_pixels(draw_regions(picture(200, 300), label_map, regions), label_map, regions)
    rows, columns = np.nonzero(written)
    assert written.any()
    assert rows.min() >= 100
    assert rows.max() < 180
    assert columns.min() >= 200


def test_labels_do_not_cover_each_other() -> None:
    label_map = np.zeros((300, 300), np.int32)
    label_map[100:200, 100:200] = 1
    for value in range(2, 6):  # nested squares: the widest part of each is in the same place
        inset = 10 * (value - 1)
        label_map[100 + inset : 200 - inset, 100 + inset : 200 - inset] = value
    regions = [Region(value, f"name {value}", (0, 40 * value, 0)) for value in range(1, 6)]
    apart = 0
    for region in regions:
        others = [Region(r.value, r.label if r is region else "", r.color) for r in regions]
        apart += int(text_pixels(draw_regions(picture(300, 300), label_map, others), label_map, others).sum())
    together = text_pixels(draw_regions(picture(300, 300), label_map, regions), label_map, regions).sum()
    assert together > 0.9 * apart


def test_text_grows_with_the_picture() -> None:
    heights = []
    for side in (200, 2000):
        label_map = np.ones((side, side), np.int32)
        regions = [Region(1, "word", (90, 0, 90))]
        written = text_pixels(draw_regions(picture(side, side), label_map, regions), label_map, regions)
        rows = np.nonzero(written)[0]
        heights.append(rows.max() - rows.min())
    assert heights[1] > 3 * heights[0]


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (250, 240, 20)])
@pytest.mark.parametrize("ground", [0, 255])
def test_text_stands_out_from_its_ground(color: tuple[int, int, int], ground: int) -> None:
    label_map = np.ones((200, 300), np.int32)
    image = np.full((200, 300, 3), ground, np.uint8)
    drawn = draw_regions(image, label_map, [Region(1, "name", color)])
    silent = draw_regions(image, label_map, [Region(1, "", color)])
    rows, columns = np.nonzero((drawn != silent).any(axis=-1))
    label = drawn[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    luminance = label @ np.array([0.2126, 0.7152, 0.0722])
    assert luminance.max() - luminance.min() > 140


def test_banner_is_written_across_the_top_and_kept_free() -> None:
    label_map = np.zeros((150, 300), np.int32)
    label_map[:20] = 1
    regions = [Region(1, "sky", (0, 0, 90))]
    plain = draw_regions(picture(150, 300), label_map, [], banner="WARNING")
    both = draw_regions(picture(150, 300), label_map, regions, banner="WARNING")
    height = int((plain != GREY).any(axis=(1, 2)).sum())
    assert 10 <= height <= 40
    assert (plain[:height].reshape(-1, 3) == OFF_WHITE).all(axis=-1).any()
    assert np.array_equal(both[:height], plain[:height])


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 9), (64, 48)])
def test_any_size_of_picture(size: tuple[int, int]) -> None:
    label_map = np.ones(size, np.int32)
    regions = [Region(1, "a long name of a class", (10, 200, 30))]
    drawn = draw_regions(picture(*size), label_map, regions, banner="RANDOM WEIGHTS: beware")
    assert drawn.shape == (*size, 3)


def test_outlines_leave_the_inside_and_have_the_colors_of_their_regions() -> None:
    drawn = draw_regions(picture(100, 200), halves(100, 200), [LEFT, RIGHT], DrawStyle(outlines=True))
    assert (drawn[50, 98] == LEFT.color).all()
    assert (drawn[50, 101] == RIGHT.color).all()
    assert (drawn[:, :90] == GREY).all()
    assert (drawn[:, 110:] == GREY).all()


def test_transparent_pictures_have_no_ground() -> None:
    label_map = np.zeros((60, 60), np.int32)
    label_map[10:50, 10:50] = 1
    drawn = draw_regions(picture(60, 60), label_map, [LEFT], DrawStyle(transparent=True, alpha=0.5))
    assert drawn.shape == (60, 60, 4)
    assert drawn[0, 0].tolist() == [0, 0, 0, 0]
    assert drawn[30, 30].tolist() == [200, 0, 0, 128]
    assert drawn[30, 10].tolist() == [*OFF_WHITE, 255]


def test_boxes_are_those_of_things() -> None:
    label_map = np.zeros((60, 80), np.int32)
    label_map[20:40, 30:50] = 1
    label_map[50:] = 2
    hidden = Region(1, "", (200, 0, 0), box=(10, 20, 50, 40))
    drawn = draw_regions(picture(60, 80), label_map, [hidden, Region(2, "", (0, 0, 200), False)], DrawStyle(boxes=True))
    assert (drawn[20:40, 10] == (200, 0, 0)).all()
    assert (drawn[20, 10:50] == (200, 0, 0)).all()
    assert not (drawn[52, 2] == (0, 0, 200)).all(), "stuff has no box"
