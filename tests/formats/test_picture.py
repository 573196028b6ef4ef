"""Pictures of results: what the choices do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.drawing import fonts
from fcclip.drawing.text import unshown
from fcclip.formats.picture import encode_png, save_picture
from fcclip.formats.result import describe_segments
from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Vocabulary
from tests.formats.samples import HEIGHT, WIDTH, panoptic_map, sample


def silent(**choices: object) -> np.ndarray:
    return sample().draw(alpha=1, labels="none", **choices)


def test_chosen_classes_only() -> None:
    drawn = silent(classes=("kitten",))
    changed = (drawn != sample().image).any(axis=-1)
    assert changed[panoptic_map() == 1].mean() > 0.95
    assert not changed[:10].any()
    with pytest.raises(ValueError, match='"wolf" is not among the names'):
        sample().draw(classes=("wolf",))


def test_views() -> None:
    light = sample().color_of(1)
    assert (silent(view="semantic")[8, 8] == sample().color_of(2)).all()
    over_nothing = silent(view="instances")
    assert (over_nothing[8, 8] == sample().image[8, 8]).all(), "instances have no sky"
    assert (over_nothing[43, 30] == light).all() or (over_nothing[42, 30] == light).all()
    cat_over_light = over_nothing[30, 24]
    assert (cat_over_light == sample().color_of(0)).all(), "the more certain lies on top"


def test_side_by_side_and_legend_make_it_larger() -> None:
    both = silent(side_by_side=True)
    assert both.shape == (HEIGHT, 2 * WIDTH + 4, 3)
    assert np.array_equal(both[:, :WIDTH], sample().image)
    legend = sample().draw(alpha=1, labels="legend")
    assert legend.shape[0] > HEIGHT
    assert np.array_equal(legend[:HEIGHT, :WIDTH], silent())


def test_scores_change_labels() -> None:
    large = 8
    ids = np.kron(panoptic_map(), np.ones((large, large), np.int32)).astype(np.int32)
    image = np.zeros((*ids.shape, 3), np.uint8)
    base = sample()
    records = [{"id": 1, "category_id": 0, "isthing": True}] + [
        {"id": index, "category_id": 1, "isthing": True} for index in (3, 7)
    ]
    segments = describe_segments(ids, records, [0.9, 0.5, 0.4], base.vocabulary)
    result = Segmentation(image, base.vocabulary, ids, segments)
    assert (result.draw(scores=True) != result.draw()).any()
    assert np.array_equal(result.draw(scores=False), result.draw())


def test_names_that_no_font_shows_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())
    fonts.font_for.cache_clear()
    unshown.cache_clear()
    vocabulary = Vocabulary.from_string("cat; 猫")
    semantic = np.ones((60, 90), np.int32)
    result = Segmentation(np.zeros((60, 90, 3), np.uint8), vocabulary, semantic=semantic)
    with pytest.warns(UserWarning, match='"#2" stands for "猫"'):
        drawn = result.draw()
    numbered = Vocabulary.from_string("cat; #2")
    plain = Segmentation(np.zeros((60, 90, 3), np.uint8), numbered, semantic=semantic)
    labels = [(picture != picture[2, 2]).any(axis=-1) for picture in (drawn, plain.draw())]
    assert np.array_equal(*labels)
    fonts.font_for.cache_clear()
    unshown.cache_clear()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_png_is_lossless(tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    save_picture(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.array(image), picture)
    assert (tmp_path / "a.png").read_bytes() == encode_png(picture)


def test_transparency_needs_a_format_that_has_it(tmp_path: Path) -> None:
    sample().save(tmp_path / "a.webp", transparent=True)
    with pytest.raises(ValueError, match=r"use \.png"):
        sample().save(tmp_path / "a.jpg", transparent=True)
    with pytest.raises(ValueError, match=r'"a\.jpg" would lose what is transparent; use \.png'):
        save_picture(tmp_path / "a.jpg", np.zeros((2, 2, 4), np.uint8))
    assert not (tmp_path / "a.jpg").exists()
