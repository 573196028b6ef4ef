"""Results as files to download from the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fcclip.drawing.style import DrawStyle
from fcclip.formats.picture import encode_png
from fcclip.segmentation import Segmentation
from fcclip.serving.forms import TASKS, Document, in_format

PICTURE = "PNG"  # the drawn picture
# What the buttons are called, and the formats of `fcclip.formats.registry` behind them.
DOWNLOADS = {
    PICTURE: "",
    "Label map PNG": "class-ids",
    "COCO JSON": "coco-instances",
    "COCO panoptic": "coco-panoptic",
    "LabelMe": "labelme",
}


def make_download(found: Segmentation, style: DrawStyle, kind: str, image: str = "picture.png") -> Document:
    """A result in one of `DOWNLOADS`.

    Args:
        found: what was found.
        style: how the picture is drawn; its view is what the other files hold, if their format can.
        kind: a key of `DOWNLOADS`.
        image: the plain name of the picture, by which files call it and after which they are named.

    Raises:
        ValueError: the result has not what the format needs.
    """
    stem = Path(image).stem
    if kind == PICTURE:
        drawn = found.draw(style, labels="both" if style.labels == "on" else "legend")
        return Document(encode_png(drawn), "image/png", f"{stem}_segmented.png")
    form = DOWNLOADS[kind]
    task = next((task for task, view in TASKS.items() if view == style.view), None)
    document = in_format(found, form, task, image)
    return replace(document, name=f"{stem}_{form}{Path(document.name).suffix}")
