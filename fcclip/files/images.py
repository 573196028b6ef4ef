"""Pictures of every kind as RGB arrays, label maps, and finding images: single files, folders and globs."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fcclip.files.paths import require_file

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 64_000_000  # a little more than the largest pictures of telephones; $FCCLIP_MAX_PIXELS changes it
ImageLike: TypeAlias = "str | Path | Image.Image | np.ndarray | torch.Tensor"  # what `to_rgb` takes
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

SAFE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class UnreadableImageError(ValueError):
    """A file that should be an image cannot be decoded in full."""


class LabelMapError(ValueError):
    """A label map is no label map, has a label that no class has, or does not fit the other one."""


class ImageTooLargeError(UnreadableImageError):
    """An image has, or says that it has, more pixels than are allowed."""


def max_pixels() -> int:
    """The most pixels that an image or frame may have: `$FCCLIP_MAX_PIXELS`, or 64 million.

    Raises:
        ValueError: the variable is no positive number.
    """
    chosen = os.environ.get("FCCLIP_MAX_PIXELS", "")
    if not chosen:
        return MAX_PIXELS
    try:
        number = int(float(chosen))
    except (ValueError, OverflowError):
        number = 0
    if number < 1:
        raise ValueError(f'FCCLIP_MAX_PIXELS is "{chosen}"; it must be a number of pixels, like 100000000')
    return number


def check_size(height: int, width: int, name: str) -> None:
    """Refuse an image with more pixels than `max_pixels`, before anything of that size is made.

    Raises:
        ImageTooLargeError: it has more; `name` starts the sentence.
    """
    if height * width > max_pixels():
        raise ImageTooLargeError(
            f"{name} has {width}x{height} pixels, more than the {max_pixels():,} that are allowed; make it smaller, or "
            "set FCCLIP_MAX_PIXELS to allow more"
        )


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file, upright as its EXIF orientation says.

    Returns:
        (H, W, 3) uint8, RGB, by the rules of `to_rgb`; of an animation the first frame.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it is no image, is damaged, truncated or too large, or has pixels of unknown scale.
        ValueError: it is no regular file.
    """
    path = require_file(path, "image")
    with _decoding(path, UnreadableImageError, str(path)) as image:
        image.load()
        return _from_pil(image)


def decode_image(file: BinaryIO, name: str, check: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Decode a picture that a stranger sent: one of the usual formats only, whose decoders start no other program.

    Args:
        file: what was sent.
        name: begins the sentence of an error.
        check: is told height and width before anything of that size is made, and may refuse them; None for no check.

    Returns:
        As `read_image`.

    Raises:
        UnreadableImageError: it is no image, is damaged, truncated or too large, or has pixels of unknown scale.
    """
    Image.init()  # else Pillow does not know them all by name
    with _decoding(file, UnreadableImageError, name, SAFE_FORMATS) as image:
        if check is not None:
            check(image.height, image.width)
        image.load()
        return _from_pil(image)


def to_rgb(image: ImageLike) -> np.ndarray:
    """Any picture as an array; the same picture gives the same array, in whichever way it is given.

    Transparency is dropped, grey becomes three equal channels, an EXIF orientation is applied. 16-bit values are
    divided by 256, truth values become 0 and 255, floating-point numbers from 0 to 1 are multiplied by 255, and other
    integers are taken as they are if they are from 0 to 255.

    Args:
        image: a file name; a PIL image of any mode; an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), where two or
            four channels end in transparency; or a tensor of these shapes or, as is usual, with the channels first.

    Returns:
        (H, W, 3) uint8, RGB, which shares no memory with `image`.

    Raises:
        TypeError: it is nothing of this kind.
        ValueError: it has another shape, no pixels or too many, or values whose scale cannot be known.
        FileNotFoundError: there is no such file.

    Example:
        >>> to_rgb(np.zeros((2, 3), bool)).shape
        (2, 3, 3)
    """
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        check_size(image.height, image.width, "the image")
        try:
            image.load()
        except Exception as error:  # closed, or damaged, which only decoding shows
            raise UnreadableImageError(f"the PIL image cannot be read: {_first_line(error)}") from error
        return _from_pil(image)
    if _is_tensor(image):
        return _from_tensor(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image is a file name, a PIL image, an array or a tensor, not {type(image).__name__}")
    return _from_array(image)


def read_label_map(path: str | Path) -> np.ndarray:
    """Read a label map, one integer per pixel: 8-bit, 16-bit or palette PNG or TIFF.

    Returns:
        (H, W) integers in the type of the file (for a palette image the indices).

    Raises:
        FileNotFoundError: there is no such file.
        LabelMapError: it is no image, is damaged or too large, or has several channels or no integers.
    """
    try:
        path = require_file(path, "label map")
    except FileNotFoundError:
        raise FileNotFoundError(f"label map {path} does not exist; is the dataset there completely?") from None
    except ValueError as error:
        raise LabelMapError(str(error)) from None
    with _decoding(path, LabelMapError, str(path)) as image:
        labels = np.asarray(image)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise LabelMapError(
            f"{path} holds {labels.dtype} {labels.shape}; a label map has one integer per pixel (grey or palette)"
        )
    return labels


@contextmanager
def _decoding(
    source: Path | BinaryIO, error_type: type[ValueError], name: str, formats: tuple[str, ...] | None = None
) -> Iterator[Image.Image]:
    """An opened image; whatever goes wrong with it becomes one sentence."""
    # Pillow has a limit of its own, which is not to be the lower one.
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, max_pixels())
    try:
        with Image.open(source, formats=formats) as image:
            check_size(image.height, image.width, name)
            yield image
    except ImageTooLargeError as error:
        raise error if error_type is UnreadableImageError else error_type(str(error)) from None
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types for damaged files
        # Pillow names the file, which for bytes in memory is an address.
        unknown = not isinstance(source, Path) and isinstance(error, UnidentifiedImageError)
        reason = "cannot identify its format" if unknown else _first_line(error)
        raise error_type(f"{name} is not a readable image: {reason}") from error


def find_images(inputs: Iterable[str | Path], subfolders: bool = False) -> tuple[list[Path], list[str]]:
    """Turn files, folders and globs into a list of image files.

    A folder stands for the image files in it, sorted by name, and with `subfolders` for those in its sub-folders too
    (hidden ones and links to folders left out); a glob (`*`, `?`, `[...]`, `**`)
    for the files that match it, sorted; a file for itself, whatever its suffix.

    Returns:
        The files in the order of `inputs`, each once; and one sentence for every input that stands for no file.
    """
    found: dict[Path, None] = {}
    problems = []
    for name in inputs:
        try:
            found.update(dict.fromkeys(_find(name, subfolders)))
        except (OSError, ValueError, RuntimeError) as error:  # also a name that no file can have
            reason = getattr(error, "strerror", None)
            problems.append(f"{str(name)[:60]!r} cannot be looked for: {reason}" if reason else str(error))
    return list(found), problems


def _find(name: str | Path, subfolders: bool) -> list[Path]:
    """The files that one input stands for; ValueError if there is none."""
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(file for file in (_below(path) if subfolders else path.iterdir()) if _is_visible_image(file))
        if not files:
            raise ValueError(f"folder {path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return files
    if not glob.has_magic(str(name)):
        require_file(path, "image")
    files = sorted(file for file in _glob(path) if file.is_file())
    if not files:
        raise ValueError(f"no file matches {name}")
    return files


def _below(folder: Path) -> Iterator[Path]:
    """The files of a folder and its sub-folders."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in files)


def _glob(pattern: Path) -> Iterable[Path]:
    """`Path.glob` for patterns that may be absolute."""
    root = Path(pattern.anchor)
    return root.glob(str(pattern.relative_to(root)))


def _is_visible_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - a damaged EXIF block says nothing about the pixels
        return image


def _from_pil(image: Image.Image) -> np.ndarray:
    file_format = image.format  # which an image that was turned no longer has
    image = _upright(image)
    # Pillow reads 16 bits of some formats as 32; which ones, depends on its version.
    if image.mode.startswith("I;16") or (image.mode == "I" and file_format in ("PNG", "PPM")):
        return _from_array(np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        return _from_array(np.asarray(image))
    if image.mode == "La":  # grey, multiplied by its transparency
        image = image.convert("LA")
    return _from_array(np.asarray(image.convert("RGB")))


def is_single(value: Any) -> bool:
    """Whether it is to be taken as one picture, even as one that cannot be read, and not as several."""
    is_picture = isinstance(value, str | Path | Image.Image | np.ndarray | bytes | bytearray) or _is_tensor(value)
    return is_picture or not isinstance(value, Iterable)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # who has a tensor has imported it; others can do without
    return torch is not None and isinstance(value, torch.Tensor)


def _from_tensor(tensor: Any) -> np.ndarray:
    shape = tuple(tensor.shape)
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        tensor = tensor.permute(1, 2, 0)
    check_size(*_height_and_width(tuple(tensor.shape)), "the image")
    if str(tensor.dtype) == "torch.bfloat16":  # unknown to NumPy
        tensor = tensor.float()
    return _from_array(tensor.detach().cpu().numpy())


def _from_array(pixels: np.ndarray) -> np.ndarray:
    check_size(*_height_and_width(pixels.shape), "the image")
    values = _to_bytes(pixels)
    if values.ndim == 2:
        values = values[..., None]
    channels = values[..., :1] if values.shape[2] < 3 else values[..., :3]
    return np.array(np.broadcast_to(channels, (*values.shape[:2], 3)), order="C")


def _height_and_width(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) == 3 and shape[2] not in (1, 2, 3, 4) and shape[0] in (1, 3, 4):
        raise ValueError(f"an image is (H, W, 3), not {shape}; move the channels to the end: transpose(1, 2, 0)")
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 2, 3, 4)) or 0 in shape:
        raise ValueError(f"an image is (H, W, 3) RGB or (H, W) grey with pixels, not {shape}")
    return shape[0], shape[1]


def _to_bytes(pixels: np.ndarray) -> np.ndarray:
    """Values of any scale that is known -> uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * 255
    if pixels.dtype.kind not in "iuf":
        raise ValueError(f"pixels are numbers, not {pixels.dtype}; convert the image to uint8")
    least, most = pixels.min(), pixels.max()
    if pixels.dtype.kind == "f":
        if not (least >= 0 and most <= 1):  # also where one is not a number
            raise ValueError(
                f"floating-point pixels are from 0 to 1, not from {least:g} to {most:g}; convert it to 8 bits (uint8)"
            )
        return (pixels * 255 + 0.5).astype(np.uint8)
    if pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:  # of either byte order
        if 0 < most <= 255:
            raise ValueError(
                f"none of its 16-bit pixels is above {most}, of 65535; convert it to uint8 if these are 8-bit values"
            )
        return (pixels >> 8).astype(np.uint8)
    if least < 0 or most > 255:
        raise ValueError(
            f"its {pixels.dtype} pixels are from {least} to {most}, a scale that cannot be known; convert it to 8 bits "
            "(uint8), or to uint16 if white is 65535"
        )
    return pixels.astype(np.uint8)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
