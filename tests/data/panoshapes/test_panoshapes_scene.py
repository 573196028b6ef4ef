import cv2
import numpy as np
import pytest

from fcclip.data.panoshapes import CLASSES, render_scene, unseen_ids
from fcclip.data.panoshapes.classes import (
    COLORS,
    FEW_CLASSES,
    SEEN_CLASSES,
    SHAPES,
    STUFF,
    UNSEEN_SHAPES,
    group_of,
)
from fcclip.data.panoshapes.scene import LEAST_VISIBLE
from fcclip.data.panoshapes.shapes import OUTLINES, draw_sprite
from fcclip.data.panoshapes.textures import PAINTERS, paint_texture


def scene(seed: int, height: int = 128, width: int = 128, **options):
    return render_scene(np.random.default_rng(seed), height, width, **options)


def test_a_seed_gives_one_scene_and_another_seed_another():
    first, again, other = scene(3), scene(3), scene(4)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.ids, again.ids)
    assert first.segments == again.segments
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (200, 130)])
def test_every_pixel_belongs_to_a_segment_and_every_segment_has_pixels(size: tuple[int, int]):
    for seed in range(5):
        made = scene(seed, *size)
        assert made.image.shape == (*size, 3)
        assert made.image.dtype == np.uint8
        assert set(np.unique(made.ids)) == {segment.id for segment in made.segments}


def test_stuff_occurs_once_and_objects_stay_visible():
    for seed in range(20):
        made = scene(seed, 192, 192)
        stuff = [segment.category for segment in made.segments if not CLASSES[segment.category].is_thing]
        assert len(stuff) == len(set(stuff))
        for segment in made.segments:
            if CLASSES[segment.category].is_thing:
                # The thinnest shape covers a fifth of the square around it; a part may be hidden or outside.
                assert np.count_nonzero(made.ids == segment.id) > 0.2 * LEAST_VISIBLE**2 * (segment.size * 192) ** 2


def test_the_map_has_the_picture_s_outlines():
    """On grey and white stuff, the pixels of a plain object's hue are those of its segment."""
    colored = [entry for entry in CLASSES if entry.is_thing and entry.color != "white"]
    classes = [*colored, *(entry for entry in CLASSES if entry.name in ("snow", "gravel"))]
    checked = 0
    for seed in range(20):
        made = scene(seed, 256, 256, classes=classes, objects=(1, 1))
        segment = made.segments[-1]
        if segment.pattern != "plain":
            continue
        hue, saturation, _ = cv2.split(cv2.cvtColor(made.image, cv2.COLOR_RGB2HSV))
        distance = np.abs((hue.astype(int) - COLORS[classes[segment.category].color][0] + 90) % 180 - 90)
        alike, mask = (distance < 14) & (saturation > 110), made.ids == segment.id
        assert np.count_nonzero(alike & mask) / np.count_nonzero(alike | mask) > 0.93, (seed, classes[segment.category])
        checked += 1
    assert checked >= 5


def test_a_pixel_belongs_to_the_object_that_covers_half_of_it():
    sprite = draw_sprite(np.random.default_rng(0), "red", "circle", False, 60, 0.3)
    y, x = np.mgrid[: len(sprite.coverage), : len(sprite.coverage)] + 0.5 - len(sprite.coverage) / 2
    radius = np.hypot(x, y)
    assert (sprite.coverage >= 0.5)[radius < 0.85 * 30 - 0.7].all()
    assert not (sprite.coverage >= 0.5)[radius > 0.85 * 30 + 0.7].any()


def test_the_shapes_fit_their_circle_and_differ():
    masks = {}
    for shape in SHAPES:
        points = np.concatenate(OUTLINES[shape]())
        assert np.hypot(*points.T).max() <= 1.005, shape
        masks[shape] = draw_sprite(np.random.default_rng(0), "red", shape, False, 60, 0).coverage >= 0.5
    for a in SHAPES:
        for b in SHAPES:
            if a < b:
                overlap = np.count_nonzero(masks[a] & masks[b]) / np.count_nonzero(masks[a] | masks[b])
                assert overlap < 0.85, (a, b)


def test_textures_look_alike_at_every_size():
    assert set(PAINTERS) == set(STUFF)
    for stuff in STUFF:
        small, large = (paint_texture(np.random.default_rng(1), stuff, side, side) for side in (64, 256))
        assert np.abs(small.mean((0, 1)) - large.mean((0, 1))).max() < 25, stuff


def test_a_scene_is_made_of_the_classes_that_are_asked_for():
    for seed in range(10):
        made = scene(seed, classes=SEEN_CLASSES)
        assert all(SEEN_CLASSES[segment.category].seen for segment in made.segments)
    with pytest.raises(ValueError, match="at least one thing class and one stuff class"):
        scene(0, classes=CLASSES[:5])


def test_the_split_hides_pairs_but_neither_their_colour_nor_their_shape():
    seen = [entry for entry in CLASSES if entry.seen]
    assert len(CLASSES) == 106
    assert len(seen) == 80
    assert unseen_ids() == [index for index, entry in enumerate(CLASSES) if not entry.seen]
    assert {entry.color for entry in seen if entry.is_thing} == set(COLORS)
    assert {entry.shape for entry in seen if entry.is_thing} == set(SHAPES) - UNSEEN_SHAPES
    groups = [group_of(entry) for entry in CLASSES]
    assert {group: groups.count(group) for group in groups} == {
        "seen thing": 72, "unseen pair": 8, "unseen shape": 16, "seen stuff": 8, "unseen stuff": 2,
    }  # fmt: skip


def test_the_few_classes_have_unseen_ones_of_every_kind():
    seen = [entry for entry in FEW_CLASSES if entry.seen]
    hidden = [entry for entry in FEW_CLASSES if group_of(entry) == "unseen pair"]
    assert {entry.color for entry in hidden} <= {entry.color for entry in seen}
    assert {entry.shape for entry in hidden} <= {entry.shape for entry in seen}
    groups = [group_of(entry) for entry in FEW_CLASSES]
    assert {group: groups.count(group) for group in groups} == {
        "seen thing": 16, "unseen pair": 4, "unseen shape": 4, "seen stuff": 4, "unseen stuff": 2,
    }  # fmt: skip
