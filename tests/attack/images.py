"""Picture files, damaged and odd, and arrays of every type and shape."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fcclip.files.images import find_images, read_image, to_rgb
from tests.attack.judge import Attack
from tests.attack.mutations import bit_flips, splices, truncations

SIZE = (13, 17)
KINDS = (
    ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"), ("PNG", "LA"),
    ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "I;16"),
    ("WEBP", "RGB"), ("PPM", "RGB"),
)  # fmt: skip
DTYPES = (
    "uint8", "int8", "uint16", ">u2", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", ">f4",
    "float64", "bool", "complex64", "S3", "U3", "datetime64[s]", "object",
)  # fmt: skip
SHAPES = (
    (4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4), (4, 5, 5), (3, 4, 5), (1, 4, 5), (0, 5, 3), (4, 0, 3), (4, 5,
    0), (4,), (), (2, 4, 5, 3),
)  # fmt: skip
GOOD_SHAPES = ((4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4))


def attacks() -> Iterator[Attack]:
    yield from _damaged_files()
    yield from _odd_files()
    yield from _arrays()
    yield from _values()
    yield from _tensors()


def encoded(form: str, mode: str) -> bytes:
    """A small picture of a mode, in a format."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    if mode == "I;16":
        image = Image.fromarray((pixels[..., 0].astype(np.uint16) << 8) + 300)
    else:
        image = Image.fromarray(pixels).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def _read(folder: Path, name: str, data: bytes) -> np.ndarray:
    path = folder / name
    path.write_bytes(data)
    return read_image(path)


def _is_picture(result: Any) -> bool:
    return isinstance(result, np.ndarray) and result.dtype == np.uint8 and result.ndim == 3 and result.shape[2] == 3


def _damaged_files() -> Iterator[Attack]:
    for form, mode in KINDS:
        data, name = encoded(form, mode), f"picture.{form.lower()}"
        whole = to_rgb(Image.open(io.BytesIO(data)))

        def is_whole(result: Any, whole: np.ndarray = whole) -> bool:
            return np.array_equal(result, whole)

        for what, cut in truncations(data, 6):
            yield Attack(f"{form} {mode}, {what}", partial(_read, name=name, data=cut), is_whole, name)
        for what, changed in (*bit_flips(data, 6), *splices(data, 4)):
            yield Attack(f"{form} {mode}, {what}", partial(_read, name=name, data=changed), _is_picture, name)


def _odd_files() -> Iterator[Attack]:
    png = encoded("PNG", "RGB")
    contents = {
        "nothing": b"",
        "one byte": b"\x00",
        "text": b"this is no picture\n",
        "web page": b"<!doctype html><html><body>404</body></html>",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "zip": b"PK\x03\x04" + bytes(64),
        "gzip": b"\x1f\x8b\x08" + bytes(64),
        "NumPy file": b"\x93NUMPY" + bytes(64),
        "PDF": b"%PDF-1.4\n",
        "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        "zeros": bytes(4096),
        "PNG of 60000 x 60000 pixels": _png(60000, 60000),
        "PNG of 2^31-1 pixels a side": _png(2**31 - 1, 2**31 - 1),
        "PNG without width": _png(0, 5),
        "PNG without height": _png(5, 0),
        "PNG without pixels": _png(5, 5),
        "BMP of 2^30 pixels a side": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 1 << 30, 1 << 30, 1,
        24, *[0] * 6),
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) run\n",
    }  # fmt: skip
    for what, data in contents.items():
        yield Attack(f"{what} called .png", partial(_read, name="odd.png", data=data), named="odd.png", may_pass=False)
    for suffix in ("jpg", "txt", "exe", "mp4", ""):
        yield Attack(f"PNG called .{suffix}", partial(_read, name=f"odd.{suffix}", data=png), _is_picture, "odd")
    yield Attack("PNG with bytes behind it", partial(_read, name="odd.png", data=png + b"more"), _is_picture, "odd.png")
    for what, make in {
        "no file": lambda path: None,
        "folder": Path.mkdir,
        "pipe": os.mkfifo,
        "link to itself": lambda path: path.symlink_to(path),
        "link to nothing": lambda path: path.symlink_to("nowhere"),
        "device": lambda path: path.symlink_to("/dev/zero"),
    }.items():
        yield Attack(what, partial(_read_made, make=make), named="odd.png", may_pass=False)
    for name in ("a\nb.png", "ü ñ 写真.png", "-rf.png", "$(id).png", "a;b.png", "x" * 240 + ".png", "%s%n.png"):
        yield Attack(f"name {name[:20]!r}", partial(_read, name=name, data=png), _is_picture, may_pass=True)
    for name in ("\0.png", "x" * 5000, "", ".", "[", "**", "[!", "nowhere/*.png", "~nobody/x.png", "/dev/zero"):
        yield Attack(f"looked for {name[:20]!r}", partial(_look_for, name=name))


def _png(width: int, height: int) -> bytes:
    """A PNG that says to have so many pixels, and has none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _read_made(folder: Path, make: Callable[[Path], None]) -> np.ndarray:
    make(folder / "odd.png")
    return read_image(folder / "odd.png")


def _look_for(folder: Path, name: str) -> None:
    """Looking for pictures never raises: it says for each input why it stands for none."""
    (folder / "empty").mkdir()
    found, problems = find_images([str(folder / "empty" / name) if name != "/dev/zero" else name])
    assert found or (len(problems) == 1 and "\n" not in problems[0])


def _arrays() -> Iterator[Attack]:
    for dtype in DTYPES:
        for shape in SHAPES:
            array = _array(dtype, shape)
            known_scale = dtype in ("uint8", "bool", "uint16", ">u2", "float16", "float32", ">f4", "float64") or (
                dtype in ("uint32", "int32", "uint64", "int64", "int16", "int8")
            )
            yield Attack(
                f"array of {dtype} {shape}",
                lambda folder, array=array: to_rgb(array),
                lambda result, array=array: np.array_equal(result, _expected(array)),
                may_pass=known_scale and shape in GOOD_SHAPES,
            )
    for value in (None, 5, 2.5, b"bytes", [1, 2], {"a": 1}, object(), len, (1, 2, 3), [[0, 1], [2, 3]], iter([1])):
        yield Attack(f"{type(value).__name__} as an image", lambda folder, value=value: to_rgb(value), may_pass=False)


def _array(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    numbers = np.arange(int(np.prod(shape))).reshape(shape) % 100
    if dtype in ("S3", "U3", "object", "datetime64[s]"):
        return numbers.astype(dtype)
    if dtype in ("uint16", ">u2"):
        return (numbers * 600).astype(dtype)
    if np.dtype(dtype).kind == "f":
        return (numbers / 100).astype(dtype)
    return numbers.astype(dtype)


def _expected(array: np.ndarray) -> np.ndarray:
    """What an array means, worked out pixel by pixel."""
    channels = array[..., None] if array.ndim == 2 else array
    colours = channels[..., [0, 0, 0]] if channels.shape[2] < 3 else channels[..., :3]
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return np.where(colours, 255, 0).astype(np.uint8)
    if kind == "f":
        return np.floor(colours.astype(array.dtype.newbyteorder("=")) * 255 + 0.5).astype(np.uint8)
    if kind == "u" and size == 2:
        return (colours // 256).astype(np.uint8)
    return colours.astype(np.uint8)


def _values() -> Iterator[Attack]:
    for dtype in ("float16", "float32", "float64"):
        for value in (np.nan, np.inf, -np.inf, -0.01, 1.01, 255.0, 1e30):
            yield Attack(f"{dtype} pixel {value}", partial(_of_value, dtype=dtype, value=value), may_pass=False)
    for dtype in ("int8", "int16", "int32", "int64"):
        yield Attack(f"{dtype} pixel -1", partial(_of_value, dtype=dtype, value=-1), may_pass=False)
    for dtype in ("int16", "int32", "uint32", "int64", "uint64"):
        yield Attack(f"{dtype} pixel 256", partial(_of_value, dtype=dtype, value=256), may_pass=False)
    yield Attack("uint16 pixel 200", partial(_of_value, dtype="uint16", value=200), may_pass=False)


def _of_value(folder: Path, dtype: str, value: float) -> np.ndarray:
    array = np.zeros((4, 5, 3), dtype)
    with np.errstate(over="ignore"):  # 1e30 is infinite in 16 bits
        array[1, 2, 0] = value
    return to_rgb(array)


def _tensors() -> Iterator[Attack]:
    kinds = (torch.uint8, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.complex64)
    for kind in kinds:
        for shape in ((3, 6, 5), (6, 5, 3), (1, 6, 5), (6, 5), (2, 3, 6, 5), (0, 6, 5), (5,), ()):
            expected = {(3, 6, 5): (6, 5, 3), (1, 6, 5): (6, 5, 3), (6, 5, 3): (6, 5, 3), (6, 5): (6, 5, 3)}.get(shape)
            yield Attack(
                f"tensor of {kind} {shape}",
                lambda folder, kind=kind, shape=shape: to_rgb(torch.zeros(shape, dtype=kind)),
                lambda result, expected=expected: result.shape == expected and not result.any(),
                may_pass=expected is not None and kind != torch.complex64,
            )
    yield Attack("sparse tensor", lambda folder: to_rgb(torch.zeros(3, 4, 5).to_sparse()), may_pass=False)
    yield Attack("tensor without data", lambda folder: to_rgb(torch.zeros(3, 4, 5, device="meta")), may_pass=False)
    yield Attack("tensor with a gradient", lambda folder: to_rgb(torch.zeros(3, 4, 5, requires_grad=True)))
