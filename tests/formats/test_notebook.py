"""What notebooks and consoles show."""

import io

import numpy as np
from PIL import Image

from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Category, Vocabulary
from tests.formats.samples import only, sample


def test_png_is_the_picture() -> None:
    with Image.open(io.BytesIO(sample()._repr_png_())) as image:
        assert np.array_equal(np.array(image), sample().draw())


def test_large_pictures_are_made_smaller() -> None:
    image = np.zeros((20, 3000, 3), np.uint8)
    result = Segmentation(image, Vocabulary((Category(("<b>cat</b>",)),)), semantic=np.zeros((20, 3000), np.int32))
    with Image.open(io.BytesIO(result._repr_png_())) as shown:
        assert shown.width == 1024
    html = result._repr_html_()
    assert "&lt;b&gt;cat" in html
    assert "<b>cat" not in html
    assert "data:image/png;base64," in html


def test_repr_is_a_line() -> None:
    assert repr(sample()) == "Segmentation(64x48; panoptic: cat, traffic light, sky)"
    assert repr(only("instances").above(0.99)) == "Segmentation(64x48; instances: nothing)"
    assert "random weights" in repr(sample(random_weights=True))
