"""Read images and label maps, and find images: single files, folders and globs."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class UnreadableImageError(ValueError):
    """A file that should be an image cannot be decoded in full."""


class LabelMapError(ValueError):
    """A label map is no label map, has a label that no class has, or does not fit the other one."""


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file, upright as its EXIF orientation says.

    Returns:
        (H, W, 3) uint8, RGB. Transparency is dropped; of an animation the first frame is taken; 16-bit grey values
        are scaled to 8 bits.

    Raises:
        FileNotFoundError: there is no such file.
        UnreadableImageError: it is no image, or it is damaged or truncated.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {path} does not exist" if not path.exists() else f"{path} is not a file")
    with _decoding(path, UnreadableImageError) as image:
        image.load()
        return np.array(_to_rgb(_upright(image)))


def read_label_map(path: str | Path) -> np.ndarray:
    """Read a label map, one integer a pixel: 8-bit, 16-bit or palette PNG or TIFF.

    Returns:
        (H, W) integers in the type of the file (for a palette image the indices).

    Raises:
        FileNotFoundError: there is no such file.
        LabelMapError: it is no image, is damaged, or has several channels or no integers.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"label map {path} does not exist; is the dataset there completely?")
    with _decoding(path, LabelMapError) as image:
        labels = np.asarray(image)
    if labels.ndim != 2 or labels.dtype.kind not in "iu":
        raise LabelMapError(
            f"{path} holds {labels.dtype} {labels.shape}; a label map has one integer a pixel (grey or palette)"
        )
    return labels


@contextmanager
def _decoding(path: Path, error_type: type[ValueError]) -> Iterator[Image.Image]:
    """An opened image; whatever goes wrong with it becomes one sentence."""
    try:
        with Image.open(path) as image:
            yield image
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types for damaged files
        raise error_type(f"{path} is not a readable image: {_first_line(error)}") from error


def find_images(inputs: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Turn files, folders and globs into a list of image files.

    A folder stands for the image files in it (not in its subfolders), sorted by name; a glob (`*`, `?`, `[...]`, `**`)
    for the files that match it, sorted; a file for itself, whatever its suffix.

    Returns:
        The files in the order of `inputs`, each once; and one sentence for every input that stands for no file.
    """
    found: dict[Path, None] = {}
    problems = []
    for name in inputs:
        path = Path(name).expanduser()
        if path.is_file():
            files = [path]
        elif path.is_dir():
            files = sorted(file for file in path.iterdir() if _is_visible_image(file))
            if not files:
                problems.append(f"folder {path} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        elif glob.has_magic(str(name)):
            files = sorted(file for file in _glob(path) if file.is_file())
            if not files:
                problems.append(f"no file matches {name}")
        else:
            files = []
            problems.append(f"image {path} does not exist")
        found.update(dict.fromkeys(files))
    return list(found), problems


def _glob(pattern: Path) -> Iterable[Path]:
    """`Path.glob` for patterns that may be absolute."""
    root = Path(pattern.anchor)
    return root.glob(str(pattern.relative_to(root)))


def _is_visible_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown scale; convert it to 8 bits")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255 instead of scaling
        grey = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        image = Image.fromarray(grey)
    return image.convert("RGB")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
