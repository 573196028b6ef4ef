"""A file per object."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.formats.samples import panoptic_map, sample


def test_masks(tmp_path: Path) -> None:
    paths = sample().export(tmp_path, "masks", "photo.jpg")
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "photo/001_cat.png",
        "photo/003_traffic_light.png",
        "photo/007_sky.png",
    ]
    for path, index in zip(paths, (1, 3, 7), strict=True):
        with Image.open(path) as image:
            assert image.mode == "L"
            assert np.array_equal(np.array(image), np.where(panoptic_map() == index, 255, 0))


def test_cutouts_are_transparent_around_the_object(tmp_path: Path) -> None:
    paths = sample().export(tmp_path, "cutouts", "photo.jpg")
    with Image.open(paths[1]) as image:
        pixels = np.array(image)
    assert pixels.shape == (12, 12, 4)
    assert np.array_equal(pixels[..., 3] == 255, panoptic_map()[30:42, 34:46] == 3)
    assert np.array_equal(pixels[..., :3], sample().image[30:42, 34:46])
