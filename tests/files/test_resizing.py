"""Sizes and pixels are those of Detectron2."""

import numpy as np
import pytest
from detectron2.data.transforms import ResizeShortestEdge, ResizeTransform

from fcclip.files.resizing import resize_picture, resized_shape


def test_sizes_are_those_of_detectron2() -> None:
    generator = np.random.default_rng(0)
    for height, width in generator.integers(20, 3000, (2000, 2)).tolist():
        for limits in ((800, 1333), (96, 160), (512, 512)):
            expected = ResizeShortestEdge.get_output_shape(height, width, *limits)
            assert resized_shape(height, width, *limits) == expected
    assert resized_shape(5000, 3, 8, 20) == (20, 1)
    assert resized_shape(50, 30, 0, 20) == (50, 30)


@pytest.mark.parametrize("size", [(20, 31), (90, 140), (60, 90)])
def test_pixels_are_those_of_detectron2(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    resized = resize_picture(image, *size, "pillow")
    np.testing.assert_array_equal(resized, ResizeTransform(60, 90, *size).apply_image(image))
    assert resize_picture(image, *size, "opencv").shape == (*size, 3)
