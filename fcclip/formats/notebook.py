"""What a notebook and the console show of a result by itself."""

from __future__ import annotations

import base64
from collections import Counter
from html import escape

import cv2
import numpy as np

from fcclip.drawing.style import DEFAULT_STYLE
from fcclip.formats.masks import choose_view, named_masks
from fcclip.formats.picture import draw_result, encode_png
from fcclip.formats.result import RANDOM_WEIGHTS_WARNING, Result

LARGEST_SIDE = 1024  # pixels of a picture in a notebook
MOST_NAMES = 6  # in the one line of `summary`


def notebook_png(result: Result) -> bytes:
    """The drawn picture as a PNG file, made smaller where it is large."""
    return encode_png(_shrink(draw_result(result, DEFAULT_STYLE)))


def notebook_html(result: Result) -> str:
    """The drawn picture, and the names with their areas beside it."""
    picture = base64.b64encode(notebook_png(result)).decode("ascii")
    pixels = result.size[0] * result.size[1]
    rows = [
        f'<tr><td><span style="color:#{bytes(result.color_of(mask.category_id)).hex()}">&#9632;</span> '
        f"{escape(mask.name)}</td><td>{'' if mask.score is None else f'{mask.score:.2f}'}</td>"
        f"<td>{100 * mask.area / pixels:.1f}%</td></tr>"
        for mask in sorted(named_masks(result), key=lambda mask: -mask.area)
    ]
    warning = f"<p><b>{RANDOM_WEIGHTS_WARNING}</b></p>" if result.random_weights else ""
    table = f"<table><tr><th>name</th><th>score</th><th>area</th></tr>{''.join(rows)}</table>"
    return (
        f'{warning}<div style="display:flex;gap:1em;align-items:flex-start">'
        f'<img alt="the picture with what was found" style="max-width:70%" src="data:image/png;base64,{picture}"/>'
        f'<div style="max-height:40em;overflow:auto">{table}</div></div>'
    )


def summary(result: Result) -> str:
    """One line: the size, and how many objects of what were found."""
    height, width = result.size
    counts = Counter(mask.name for mask in named_masks(result))
    listed = [name if count == 1 else f"{count} {name}" for name, count in counts.most_common(MOST_NAMES)]
    more = len(counts) - len(listed)
    found = ", ".join([*listed, f"{more} more classes"] if more else listed) or "nothing"
    parts = [f"{width}x{height}", f"{choose_view(result, None)}: {found}"]
    if result.random_weights:
        parts.append("random weights")
    return f"{type(result).__name__}({'; '.join(parts)})"


def _shrink(picture: np.ndarray) -> np.ndarray:
    factor = LARGEST_SIDE / max(picture.shape[:2])
    if factor >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
