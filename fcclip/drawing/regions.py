"""Draw a map of labelled regions over a picture: colours, boundaries, boxes and names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from fcclip.drawing.colors import RGB
from fcclip.drawing.labels import OFF_WHITE, Box, Region, draw_labels
from fcclip.drawing.style import DEFAULT_STYLE, DrawStyle
from fcclip.drawing.text import TextLine

BANNER_COLOR: RGB = (176, 32, 36)
OPAQUE = 255


def draw_regions(
    image: np.ndarray,
    label_map: np.ndarray,
    regions: Sequence[Region],
    style: DrawStyle = DEFAULT_STYLE,
    banner: str = "",
) -> np.ndarray:
    """Paint regions over a picture, outline them and write their labels.

    Args:
        image: (H, W, 3) uint8, RGB.
        label_map: (H, W) non-negative integers; values without a region are left as they are in the picture.
        regions: how to draw which value.
        style: what can be chosen; a legend, the palette and the picture beside it are not drawn here.
        banner: a warning to write across the top; "" for none.

    Returns:
        (H, W, 3) uint8 RGB, or (H, W, 4) RGBA of a transparent style; a new array.
    """
    canvas = Image.fromarray(_paint(image, label_map, regions, style))
    size = font_size(*image.shape[:2])
    if style.boxes:
        _draw_boxes(canvas, label_map, regions)
    taken = [_draw_banner(canvas, banner, size)] if banner else []
    if style.labels in ("on", "both"):
        draw_labels(canvas, label_map, regions, size, taken, Path(style.font) if style.font else None)
    return np.array(canvas)


def font_size(height: int, width: int) -> int:
    """Text size in pixels for a picture of this size."""
    return max(10, round(math.sqrt(height * width) / 45))


def _paint(image: np.ndarray, label_map: np.ndarray, regions: Sequence[Region], style: DrawStyle) -> np.ndarray:
    """Blend in the colours, and trace the boundaries between regions."""
    largest = int(label_map.max(initial=0))
    colors = np.zeros((largest + 1, 3), np.uint8)
    drawn = np.zeros(largest + 1, bool)
    for region in regions:
        if 0 <= region.value <= largest:
            colors[region.value] = region.color
            drawn[region.value] = True
    covered = drawn[label_map]
    colored = colors.take(label_map, axis=0)
    edges = _boundaries(np.where(covered, label_map + 1, 0), twice=style.outlines)  # 0: not drawn
    if style.outlines:
        edges &= covered
    ground = np.zeros_like(image) if style.transparent else np.ascontiguousarray(image)
    painted = ground.copy()
    if not style.outlines:
        blended = colored if style.transparent else cv2.addWeighted(ground, 1 - style.alpha, colored, style.alpha, 0)
        cv2.copyTo(blended, covered.view(np.uint8), painted)
    painted[edges] = colored[edges] if style.outlines else OFF_WHITE
    if not style.transparent:
        return painted
    fill = 0 if style.outlines else round(OPAQUE * style.alpha)
    opacity = np.where(edges, OPAQUE, np.where(covered, fill, 0)).astype(np.uint8)
    return np.dstack([painted, opacity])


def _line_width(shape: tuple[int, ...]) -> int:
    """Pixels; more in larger pictures."""
    return max(1, round(math.sqrt(shape[0] * shape[1]) / 500))


def _boundaries(label_map: np.ndarray, twice: bool = False) -> np.ndarray:
    """(H, W) bool: pixels at which the label changes; `twice` as thick, for lines on both sides."""
    edges = np.zeros(label_map.shape, np.uint8)
    edges[:, 1:] |= label_map[:, 1:] != label_map[:, :-1]
    edges[1:] |= label_map[1:] != label_map[:-1]
    thickness = _line_width(label_map.shape)
    middle = -1
    if twice:
        middle = thickness  # the edge is the first pixel of its right side
        thickness = 2 * (middle + 1)
    return cv2.dilate(edges, np.ones((thickness, thickness), np.uint8), anchor=(middle, middle)).astype(bool)


def _draw_boxes(canvas: Image.Image, label_map: np.ndarray, regions: Sequence[Region]) -> None:
    """Draw the boxes of things, in their colours."""
    extents = ndimage.find_objects(label_map.astype(np.int32, copy=False))
    drawing = ImageDraw.Draw(canvas)
    width = _line_width(label_map.shape) + 1
    for region in regions:
        extent = extents[region.value - 1] if 0 < region.value <= len(extents) else None
        if not region.is_thing or extent is None:
            continue
        rows, columns = extent
        x0, y0, x1, y1 = region.box or (columns.start, rows.start, columns.stop, rows.stop)
        color = region.color if canvas.mode == "RGB" else (*region.color, OPAQUE)
        drawing.rectangle((x0, y0, x1 - 1, y1 - 1), outline=color, width=width)


def _draw_banner(canvas: Image.Image, text: str, size: int) -> Box:
    """Write `text` across the top of the picture, as large as its width allows."""
    line = TextLine(text, size)
    while line.width > canvas.width - size and line.size > 6:
        line = TextLine(text, line.size - 1)
    box = (0, 0, canvas.width, min(canvas.height, math.ceil(1.7 * line.size)))
    color = BANNER_COLOR if canvas.mode == "RGB" else (*BANNER_COLOR, OPAQUE)
    ImageDraw.Draw(canvas).rectangle((0, 0, box[2] - 1, box[3] - 1), fill=color)
    baseline = (box[3] - line.height) / 2 + line.ascent
    line.draw(canvas, (canvas.width - line.width) / 2, baseline, OFF_WHITE)
    return box
