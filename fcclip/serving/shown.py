"""What the page shows of a result: a picture, a map for the pointer, and the rows of the legend."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from fcclip.drawing.colors import RGB
from fcclip.drawing.regions import draw_regions
from fcclip.drawing.style import DrawStyle
from fcclip.formats.masks import choose_view, named_masks
from fcclip.formats.picture import drawn_regions, encode_png
from fcclip.formats.result import RANDOM_WEIGHTS_WARNING, Result

MOST_SIDE = 1600  # pixels of the longer side of what is shown; downloads are as large as the picture
QUALITY = 88  # of the shown picture, a JPEG
ALT_NAMES = 8  # that the description of the picture lists
ALT_LENGTH = 300  # characters, of the names in it
NOUNS = {"panoptic": "segment", "semantic": "class", "instances": "object"}


def shown_result(result: Result, style: DrawStyle) -> dict[str, Any]:
    """A result as the page's own part `page.js` takes it, ready for JSON.

    Args:
        result: what was found.
        style: how it is drawn; a legend, boxes and the picture beside it are not.

    Returns:
        `picture` and `map`, addresses that hold a JPEG and a PNG of one size, whose red and green (the high byte) are
        the `id` of a row; `ratio`, width by height; `rows`, see `legend_rows`; `caption` and `alt`, sentences.

    Raises:
        ValueError: the result lacks the view.
    """
    label_map, regions = drawn_regions(result, style)
    pick = _thinned(*result.size)
    image = _reduced(result.image, len(pick[0]), pick[1].size)
    small_map = np.ascontiguousarray(label_map[pick])
    banner = RANDOM_WEIGHTS_WARNING if result.random_weights else ""
    drawn = draw_regions(image, small_map, [replace(region, box=None) for region in regions], style, banner)
    rows = legend_rows(result, style, {region.value: region.color for region in regions})
    return {
        "picture": _address("jpeg", _jpeg(drawn)),
        "map": _address("png", encode_map(small_map, {row["id"] for row in rows})),
        "ratio": round(result.size[1] / result.size[0], 4),
        "rows": rows,
        "caption": _caption(result, style, rows),
        "alt": _description(rows),
    }


def legend_rows(result: Result, style: DrawStyle, colors: dict[int, RGB]) -> list[dict[str, Any]]:
    """A row per segment, object or class, the largest first.

    Args:
        result: what was found.
        style: its view is listed.
        colors: of each id.

    Returns:
        Rows with `id`, `name`, `kind` ("thing", "stuff"), `color` ("#rrggbb"), `area` ("12.3 %") and `score` ("0.93",
        or "–" for classes of a semantic map, which have none).
    """
    pixels = math.prod(result.size)
    masks = sorted(((mask, mask.area) for mask in named_masks(result, style.view)), key=lambda pair: -pair[1])
    return [
        {
            "id": mask.id,
            "name": mask.name,
            "kind": "thing" if mask.is_thing else "stuff",
            "color": "#{:02x}{:02x}{:02x}".format(*colors[mask.id]),
            "area": f"{100 * area / pixels:.1f} %",
            "score": "–" if mask.score is None else f"{mask.score:.2f}",
        }
        for mask, area in masks
    ]


def encode_map(label_map: np.ndarray, ids: set[int]) -> bytes:
    """A PNG of ids up to 65535, the low byte in red and the high one in green; other values of the map become 0."""
    known = np.where(np.isin(label_map, list(ids)), label_map, 0)
    return encode_png(np.dstack([known & 255, known >> 8, np.zeros_like(known)]).astype(np.uint8))


def _thinned(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (h, 1) and columns (w,) whose pixels stand for all, at most `MOST_SIDE` of each."""
    share = min(1.0, MOST_SIDE / max(height, width))
    rows, columns = (
        ((np.arange(count) + 0.5) * length / count).astype(np.int64)
        for length, count in ((height, max(1, round(height * share))), (width, max(1, round(width * share))))
    )
    return rows[:, None], columns


def _reduced(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _jpeg(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def _address(kind: str, data: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _caption(result: Result, style: DrawStyle, rows: list[dict[str, Any]]) -> str:
    noun = NOUNS[choose_view(result, style.view)]
    if not rows:
        return "Nothing was found by these names."
    count = f"{len(rows)} {noun}{('es' if noun == 'class' else 's') * (len(rows) > 1)}"
    return f"{count}, the largest first" if len(rows) > 1 else count


def _description(rows: list[dict[str, Any]]) -> str:
    """What the picture shows, for those who do not see it."""
    if not rows:
        return "The picture; nothing was found in it by these names."
    listed = "; ".join(f"{row['name']}, {row['area']}" for row in rows[:ALT_NAMES])
    if len(listed) > ALT_LENGTH:
        listed = f"{listed[:ALT_LENGTH].rstrip()}…"
    more = len(rows) - ALT_NAMES
    return f"The picture with what was found painted over it: {listed}{f'; and {more} more' if more > 0 else ''}."
