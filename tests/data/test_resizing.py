"""Sizes and pixels of resized test images."""

import cv2
import numpy as np
import pytest
from PIL import Image

from fcclip.data.resizing import ResizeShorterSide
from tests.shared import SHARED, needs_shared

IMAGE = np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)


@needs_shared
def test_sizes_of_the_published_zero_shot_systems() -> None:
    recorded = np.load(SHARED / "parity/zegclip_cascade/pipeline_reference.npz")
    resize = ResizeShorterSide(512, 10**6, "opencv")
    for (height, width), expected in zip(recorded["test_resize_in_hw"], recorded["test_resize_out_hw"], strict=True):
        image = np.zeros((height, width, 3), np.uint8)
        assert resize.get_transform(image).apply_image(image).shape[:2] == tuple(expected)


@pytest.mark.parametrize("size", [35, 140])
def test_pixels_are_those_of_the_library(size) -> None:
    height = size * 90 // 70
    by_opencv = ResizeShorterSide(size, 1000, "opencv").get_transform(IMAGE).apply_image(IMAGE)
    np.testing.assert_array_equal(by_opencv, cv2.resize(IMAGE, (size, height)))
    by_pillow = ResizeShorterSide(size, 1000, "pillow").get_transform(IMAGE).apply_image(IMAGE)
    expected = Image.fromarray(IMAGE).resize((size, height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(by_pillow, np.asarray(expected))


def test_limits() -> None:
    assert ResizeShorterSide(0, 1000).get_transform(IMAGE).apply_image(IMAGE) is IMAGE
    assert ResizeShorterSide(700, 90).get_transform(IMAGE).apply_image(IMAGE).shape == (90, 70, 3)
    line = np.zeros((1, 3000, 3), np.uint8)
    assert ResizeShorterSide(100, 200).get_transform(line).apply_image(line).shape == (1, 200, 3)
    with pytest.raises(ValueError, match=r"INPUT\.RESIZING_TEST must be one of pillow, opencv"):
        ResizeShorterSide(1, 1, "skimage")
