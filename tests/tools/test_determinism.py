"""What the tool says of two answers."""

import numpy as np
import torch

from fcclip import Segmenter, Vocabulary
from tests.tiny import tiny_cfg
from tools.determinism import SIDE, WORDS, answer, compared


def test_equal_answers_are_the_same_and_others_are_measured() -> None:
    one = {"semantic map 0": np.zeros((4, 5), int), "scores 0": np.array([0.5, 0.25])}
    assert compared(one, {key: value.copy() for key, value in one.items()}) == "same"
    pixel, score = (dict(one) for _ in range(2))
    pixel["semantic map 0"] = np.eye(4, 5, dtype=int)
    assert compared(one, pixel) == "4 of 20 pixels, scores by 0e+00"
    score["scores 0"] = np.array([0.5, 0.25 + 1e-6])
    assert compared(one, score) == "0 of 20 pixels, scores by 1e-06"
    score["scores 0"] = np.array([0.5])
    assert compared(one, score) == "0 of 20 pixels, other segments"


def test_answers_are_numbered_as_the_classes_of_the_tool() -> None:
    """With classes in another order, the maps of an answer are comparable."""
    torch.manual_seed(0)
    segmenter = Segmenter.from_cfg(tiny_cfg(INPUT__MIN_SIZE_TEST=SIDE))
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    one = answer(segmenter, [image])
    other = answer(segmenter, [image], words=Vocabulary(WORDS.categories[::-1]))
    assert one.keys() == other.keys()
    differing = (one["semantic map 0"] != other["semantic map 0"]).mean()
    assert differing < 0.01
    assert one["scores 0"].std(axis=(1, 2)).min() > 0
    np.testing.assert_allclose(one["scores 0"], other["scores 0"], atol=1e-5)
