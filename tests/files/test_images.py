"""Images are read as people see them, and what cannot be read is named."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcclip.files.images import (
    ImageLike,
    LabelMapError,
    UnreadableImageError,
    find_images,
    read_image,
    read_label_map,
    to_rgb,
)

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


def test_floating_point_images_of_unknown_scale_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "float.tif", np.full((4, 4), 1.5, np.float32))
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
    with pytest.raises(ValueError, match="is a folder; give the image itself"):
        read_image(tmp_path)
    with pytest.raises(ValueError, match="is a folder; give the label map itself"):
        read_label_map(tmp_path)
    for name in ("a" * 5000, "nul\0.png"):
        with pytest.raises((ValueError, FileNotFoundError), match=r"^(no image can be called|image .* does not exist)"):
            read_image(name)


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
    assert find_images(["a" * 5000])[1] == [f"{'a' * 60!r} cannot be looked for: File name too long"]
    inputs = [tmp_path / "none.jpg", tmp_path / "empty", tmp_path / "*.gif", tmp_path / "real.png"]
    found, problems = find_images(inputs)
    assert [path.name for path in found] == ["real.png"]
    assert len(problems) == 3
    assert "none.jpg does not exist" in problems[0]
    assert "empty has no images" in problems[1]
    assert "no file matches" in problems[2]


def grey(picture: np.ndarray) -> np.ndarray:
    """A grey picture as three channels."""
    return np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"]
)
def test_pil_images_of_every_mode_are_read_as_people_see_them(gradient: np.ndarray, mode: str) -> None:
    source = Image.fromarray(gradient)
    if mode in ("La", "RGBa"):
        source = source.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    image = source.convert("P").convert("PA") if mode == "PA" else source.convert(mode)
    back = image.convert("LA" if mode == "La" else image.mode)
    assert np.array_equal(to_rgb(image), np.asarray(back.convert("RGB")))


def pictures() -> dict[str, tuple[ImageLike, np.ndarray]]:
    """The same picture, given in many ways, with what is right."""
    colors = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    levels = colors[..., 0]
    deep = (colors.astype(np.uint16) << 8) + 7
    share = colors / np.float32(255)
    tensor = torch.from_numpy(colors)
    alpha = np.dstack([colors, levels])
    return {
        "rgb": (colors, colors),
        "rgba": (alpha, colors),
        "grey": (levels, grey(levels)),
        "grey, one channel": (levels[..., None], grey(levels)),
        "grey and alpha": (alpha[..., [0, 3]], grey(levels)),
        "bool": (levels > 99, grey((levels > 99) * np.uint8(255))),
        "16 bits": (deep, colors),
        "16 bits, big-endian": (deep.astype(">u2"), colors),
        "16 bits, grey": (deep[..., 0], grey(levels)),
        "int32 grey": (levels.astype(np.int32), grey(levels)),
        "int64": (colors.astype(np.int64), colors),
        "float32": (share, colors),
        "float64": (share.astype(np.float64), colors),
        "PIL": (Image.fromarray(colors), colors),
        "PIL I": (Image.fromarray(levels.astype(np.int32)), grey(levels)),
        "PIL I;16": (Image.fromarray(deep[..., 0]), grey(levels)),
        "PIL F": (Image.fromarray(share[..., 0]), grey(levels)),
        "tensor": (tensor, colors),
        "tensor, channels first": (tensor.permute(2, 0, 1), colors),
        "tensor, grey": (tensor[..., 0], grey(levels)),
        "tensor, one channel first": (tensor[None, ..., 0], grey(levels)),
        "tensor of floats": (torch.from_numpy(share).permute(2, 0, 1), colors),
        "tensor that is trained": (torch.from_numpy(share).requires_grad_(), colors),
        "not contiguous": (np.asfortranarray(colors[::-1])[::-1], colors),
    }


@pytest.mark.parametrize("way", pictures())
def test_the_same_picture_is_the_same_array_in_whichever_way_it_is_given(way: str) -> None:
    given, right = pictures()[way]
    got = to_rgb(given)
    assert (got.dtype, got.shape) == (np.uint8, right.shape)
    assert np.array_equal(got, right)
    assert got.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("way", ["rgb", "rgba", "grey", "bool", "16 bits, grey", "PIL I", "PIL I;16", "PIL F"])
def test_a_file_is_the_picture_that_was_written(tmp_path: Path, way: str, suffix: str) -> None:
    given, right = pictures()[way]
    image = given if isinstance(given, Image.Image) else Image.fromarray(given)
    if suffix == ".png" and image.mode in ("F", "I"):
        pytest.skip("PNG has neither floating-point nor 32-bit pixels")
    image.save(tmp_path / f"a{suffix}")
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), right)
    assert np.array_equal(to_rgb(str(tmp_path / f"a{suffix}")), right)
    with Image.open(tmp_path / f"a{suffix}") as opened:
        assert np.array_equal(to_rgb(opened), right)


def test_orientation_is_applied_to_pil_images_too(tmp_path: Path, gradient: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    with Image.open(write(tmp_path / "turned.png", gradient, exif=exif)) as image:
        assert np.array_equal(to_rgb(image), np.rot90(gradient, -1))


def test_the_array_is_the_callers_no_more(gradient: np.ndarray) -> None:
    for given in (gradient, torch.from_numpy(gradient)):
        assert not np.shares_memory(to_rgb(given), gradient)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((2, 2), 256, np.int32), "int32 pixels are from 256 to 256, a scale that cannot be known"),
        (np.full((2, 2), -1, np.int8), "from -1 to -1"),
        (np.full((2, 2), 200, np.uint16), "none of its 16-bit pixels is above 200"),
        (np.full((2, 2), 1.5), "from 0 to 1, not from 1.5 to 1.5"),
        (np.full((2, 2), np.nan), "from 0 to 1, not from nan to nan"),
        (np.full((2, 2), np.inf), "from 0 to 1, not from inf"),
        (np.zeros((2, 2), complex), "pixels are numbers, not complex128"),
        (np.zeros((2, 2), object), "pixels are numbers, not object"),
        (np.zeros(()), r"is \(H, W, 3\) RGB or \(H, W\) grey with pixels, not \(\)"),
        (np.zeros((0, 4, 3), np.uint8), "with pixels"),
        (np.zeros((2, 2, 5), np.uint8), "with pixels"),
        (np.zeros((1, 2, 2, 3), np.uint8), "with pixels"),
        (np.zeros((3, 20, 20), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.broadcast_to(np.uint8(0), (10**6, 10**6, 3)), "1000000x1000000 pixels, more than the 64,000,000"),
        (torch.zeros(1).expand(3, 10**6, 10**6), "1000000x1000000 pixels"),
        (Image.new("RGB", (0, 4)), "with pixels"),
    ],
)
def test_pictures_that_are_none_are_refused(picture: ImageLike, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_rgb(picture)


@pytest.mark.parametrize("thing", [None, 3, b"a.png", bytearray(3), [1, 2], np.uint8(1), {}])
def test_what_is_no_picture_is_named(thing: object) -> None:
    with pytest.raises(TypeError, match=f"not {type(thing).__name__}"):
        to_rgb(thing)


def test_a_closed_image_is_one_sentence(tmp_path: Path, gradient: np.ndarray) -> None:
    image = Image.open(write(tmp_path / "a.png", gradient))
    image.close()
    with pytest.raises(ValueError, match="the PIL image cannot be read"):
        to_rgb(image)


def test_the_size_that_a_header_claims_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jpg", np.zeros((16, 16, 3), np.uint8))
    data = bytearray(path.read_bytes())
    size = data.index(b"\xff\xc0") + 5  # of the frame: height, width
    data[size : size + 4] = (9000).to_bytes(2, "big") * 2
    path.write_bytes(data)
    for read, error in ((read_image, UnreadableImageError), (read_label_map, LabelMapError)):
        with pytest.raises(error, match=r"a\.jpg has 9000x9000 pixels, more than .*set FCCLIP_MAX_PIXELS"):
            read(path)
    small = write(tmp_path / "b.png", np.zeros((20, 20), np.uint8))
    monkeypatch.setenv("FCCLIP_MAX_PIXELS", "399")
    with pytest.raises(UnreadableImageError, match="20x20 pixels, more than the 399"):
        read_image(small)
    monkeypatch.setenv("FCCLIP_MAX_PIXELS", "4e2")
    assert read_image(small).shape == (20, 20, 3)
    monkeypatch.setenv("FCCLIP_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match='FCCLIP_MAX_PIXELS is "many"'):
        read_image(small)
