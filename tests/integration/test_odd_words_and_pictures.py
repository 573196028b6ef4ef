"""The shipped model is told words and given pictures that people come with."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcclip import Segmenter


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    segmenter = Segmenter.from_pretrained("panoshapes", opts=("INPUT.MIN_SIZE_TEST", "64"), device="cpu")
    segmenter.set_vocabulary("red star; grass=stuff")
    return segmenter


def test_words_that_the_model_does_not_know_are_told(segmenter: Segmenter, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        segmenter.encode_vocabulary("red star; grass=stuff; purple heart")
        assert caplog.text == ""
        segmenter.encode_vocabulary("cat; red star; sofa")
    assert 'never trained on the words of "cat", "sofa"; what it finds for them means nothing' in caplog.text


def test_the_same_picture_gives_the_same_result_in_whichever_way_it_is_given(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(colors).save(tmp_path / "turned.png", exif=exif)
    deep = np.tile(np.arange(64, dtype=np.uint16) * 600, (48, 1))
    Image.fromarray(deep).save(tmp_path / "deep.png")
    same = {
        "turned": [tmp_path / "turned.png", Image.open(tmp_path / "turned.png"), np.rot90(colors, -1)],
        "deep": [str(tmp_path / "deep.png"), Image.open(tmp_path / "deep.png"), deep, np.dstack([deep] * 3)],
        "plain": [colors, torch.from_numpy(colors), torch.from_numpy(colors).permute(2, 0, 1) / 255],
    }
    for pictures in same.values():
        first, *others = segmenter.predict(pictures)
        for other in others:
            assert np.array_equal(first.image, other.image)
            assert np.array_equal(first.semantic, other.semantic)


@pytest.mark.parametrize("thing", [3, b"a.png", bytearray(b"a.png"), np.float64(3), np.array(3.0), None])
def test_what_is_no_picture_is_one_sentence(segmenter: Segmenter, thing: object) -> None:
    with pytest.raises((TypeError, ValueError), match="an image is "):
        segmenter.predict(thing)


def test_a_result_does_not_change_with_the_array_that_was_given(segmenter: Segmenter) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    result = segmenter.predict(picture)
    picture[:] = 255
    assert not result.image.any()


def test_a_refused_vocabulary_leaves_the_old_one_in_force(segmenter: Segmenter) -> None:
    for refused in ("cat; cat", "hugo " * 30, "\x01"):
        with pytest.raises(ValueError, match="twice|too long|control"):
            segmenter.set_vocabulary(refused)
        assert segmenter.vocabulary is not None
        assert segmenter.vocabulary.names == ("red star", "grass")
        segmenter.predict(np.zeros((48, 64, 3), np.uint8))
