"""Images are read as people see them, and what cannot be read is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.files.images import UnreadableImageError, find_images, read_image

ORIENTATION = 0x0112  # EXIF tag


@pytest.fixture
def gradient() -> np.ndarray:
    rows, columns = np.mgrid[0:40, 0:60]
    return np.stack([rows * 6, columns * 4, rows + columns], axis=-1).astype(np.uint8)


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tif"])
def test_lossless_formats_give_the_pixels(tmp_path: Path, gradient: np.ndarray, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    image = read_image(write(tmp_path / f"image{suffix}", gradient, **options))
    assert image.dtype == np.uint8
    assert np.array_equal(image, gradient)


def test_grey_palette_and_transparent_images_become_rgb(tmp_path: Path, gradient: np.ndarray) -> None:
    grey = write(tmp_path / "grey.png", gradient[..., 0])
    assert np.array_equal(read_image(grey), np.repeat(gradient[..., :1], 3, axis=2))
    rgba = write(tmp_path / "rgba.png", np.dstack([gradient, np.full((40, 60), 128, np.uint8)]))
    assert np.array_equal(read_image(rgba), gradient)
    Image.fromarray(gradient).quantize(16).save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (40, 60, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    image = read_image(write(tmp_path / "deep.png", values))
    assert np.array_equal(image[..., 0], (values >> 8).astype(np.uint8))


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "float.tif", np.ones((4, 4), np.float32))
    with pytest.raises(UnreadableImageError, match="convert it to 8 bits"):
        read_image(path)


def test_exif_orientation_is_applied(tmp_path: Path, gradient: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    path = write(tmp_path / "turned.png", gradient, exif=exif)
    assert np.array_equal(read_image(path), np.rot90(gradient, -1))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_image_is_named(tmp_path: Path, gradient: np.ndarray, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    path = write(tmp_path / f"whole{suffix}", noise)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError, match=f"cut{suffix} is not a readable image"):
        read_image(cut)


@pytest.mark.parametrize("content", [b"", b"this is text, not a picture", b"\xff\xd8\xff\xe0"])
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"text\.jpg is not a readable image"):
        read_image(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_image(tmp_path / "none.jpg")
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_image(tmp_path)


def test_find_images_in_files_folders_and_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.jpg", "a.PNG", ".hidden.jpg", "notes.txt", "deep/c.webp", "odd[1].jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    def names(*inputs: str | Path) -> list[str]:
        found, problems = find_images(inputs)
        assert not problems
        return [path.name for path in found]

    assert names(tmp_path) == ["a.PNG", "b.jpg", "odd[1].jpg"]
    assert names(tmp_path / "*.jpg") == [".hidden.jpg", "b.jpg", "odd[1].jpg"]
    assert names(tmp_path / "**" / "*.webp") == ["c.webp"]
    assert names(tmp_path / "odd[1].jpg") == ["odd[1].jpg"], "a file's own name wins over its reading as a glob"
    assert names(tmp_path / "notes.txt") == ["notes.txt"], "a file named explicitly is taken at its word"
    assert names(tmp_path / "b.jpg", tmp_path) == ["b.jpg", "a.PNG", "odd[1].jpg"], "each file once"
    monkeypatch.chdir(tmp_path)
    assert names("deep/*") == ["c.webp"]


def test_inputs_that_stand_for_nothing_are_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "real.png").touch()
    inputs = [tmp_path / "none.jpg", tmp_path / "empty", tmp_path / "*.gif", tmp_path / "real.png"]
    found, problems = find_images(inputs)
    assert [path.name for path in found] == ["real.png"]
    assert len(problems) == 3
    assert "none.jpg does not exist" in problems[0]
    assert "empty has no images" in problems[1]
    assert "no file matches" in problems[2]
