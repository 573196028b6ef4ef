"""Files that say what they were made from."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.files.stamps import is_current, save_stamped, stamp_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.png"
    path.write_bytes(b"12345")
    return path


def test_size_time_name_and_recipe_count(source: Path):
    first = stamp_of([source], "recipe")
    assert stamp_of([source], "recipe") == first
    assert stamp_of([source], "other") != first
    os.utime(source, ns=(1, 1))
    second = stamp_of([source], "recipe")
    assert second != first
    source.write_bytes(b"123456")
    os.utime(source, ns=(1, 1))
    assert stamp_of([source], "recipe") != second
    source.unlink()
    with pytest.raises(FileNotFoundError, match=r"source\.png does not exist"):
        stamp_of([source])


@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".tif", np.uint16), (".jpg", np.uint8)])
def test_images_carry_their_stamp(tmp_path: Path, source: Path, suffix: str, dtype: type):
    pixels = np.random.default_rng(0).integers(0, 200, (40, 50)).astype(dtype)
    path, plain, stamp = tmp_path / f"out{suffix}", tmp_path / f"plain{suffix}", stamp_of([source])
    save_stamped(Image.fromarray(pixels), path, stamp)
    save_stamped(Image.fromarray(pixels), plain, "")
    assert is_current(path, stamp)
    assert not is_current(plain, stamp)
    assert not is_current(path, stamp_of([source], "changed"))
    assert not is_current(tmp_path / "none.png", stamp)
    with Image.open(path) as image, Image.open(plain) as other:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(other))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_damage_in_the_middle_is_noticed(tmp_path: Path, suffix: str):
    pixels = np.random.default_rng(0).integers(0, 200, (40, 50)).astype(np.uint8)
    path, stamp = tmp_path / f"out{suffix}", stamp_of([])
    save_stamped(Image.fromarray(pixels), path, stamp)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert not is_current(path, stamp)
    if suffix == ".png":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
        assert not is_current(path, stamp)
