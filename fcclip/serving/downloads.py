"""Results as files to download, made in memory or in a temporary folder that is gone when they are ready."""

from __future__ import annotations

import io
import mimetypes
import re
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from fcclip.drawing.style import DrawStyle
from fcclip.formats.picture import draw_result, encode_png
from fcclip.formats.registry import open_format
from fcclip.formats.result import Result
from fcclip.formats.writer import WriterOptions

MOST_NAME = 60  # characters
_ODD = re.compile(r"[^\w-]+")
PICTURE = "PNG"  # the drawn picture
# What the buttons are called, and the formats of `fcclip.formats.registry` behind them.
DOWNLOADS = {
    PICTURE: "",
    "Label map PNG": "class-ids",
    "COCO JSON": "coco-instances",
    "COCO panoptic": "coco-panoptic",
    "LabelMe": "labelme",
}


@dataclass(frozen=True)
class Download:
    """A file for the user.

    Attributes:
        name: under which the browser saves it.
        type: its MIME type.
        data: its bytes.
    """

    name: str
    type: str
    data: bytes


def make_download(result: Result, style: DrawStyle, kind: str, image: str = "picture.png") -> Download:
    """A result in one of `DOWNLOADS`.

    Args:
        result: what was found.
        style: how the drawn picture is drawn; its view is what the other files hold, if their format can.
        kind: a key of `DOWNLOADS`.
        image: the picture's file name, see `plain_name`; files refer to it and are named after it.

    Returns:
        The file; of a format of several files, a ZIP of them.

    Raises:
        ValueError: the result has not what the format needs.
    """
    stem = Path(image).stem
    if kind == PICTURE:
        drawn = draw_result(result, replace(style, labels="both" if style.labels == "on" else "legend"))
        return Download(f"{stem}_segmented.png", "image/png", encode_png(drawn))
    name = DOWNLOADS[kind]
    with tempfile.TemporaryDirectory(prefix="fcclip-") as folder:
        writer = open_format(name, folder, WriterOptions(style.view))
        paths = [*writer.add(result, image), *writer.finish()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
    if len(files) > 1:
        return Download(f"{stem}_{name}.zip", "application/zip", _zip(files))
    [(path, data)] = files.items()
    suffix = Path(path).suffix
    return Download(f"{stem}_{name}{suffix}", mimetypes.types_map[suffix], data)


def plain_name(path: str) -> str:
    """The name of a picture's file without its folders, of letters, digits, "-", "_" and one "." alone.

    Example:
        >>> plain_name("/tmp/../my cat (2).jpeg")
        'my_cat_2.jpeg'
    """
    stem, suffix = (_ODD.sub("_", part).strip("_") for part in (Path(path).stem, Path(path).suffix[1:]))
    return f"{stem[:MOST_NAME] or 'picture'}.{suffix[:8] or 'png'}"


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()
