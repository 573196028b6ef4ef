"""Draw a map of labelled regions over a picture: colours, boundaries, and names where they can be read."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from fcclip.drawing.colors import RGB

Box = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 are outside

OFF_WHITE: RGB = (255, 255, 240)
BANNER_COLOR: RGB = (176, 32, 36)
LEAST_LABELLED_SHARE = 0.1  # a region that covers less than this share of its own label gets none
LABEL_PLACES = 4  # spots inside a region that are tried for its label
LABEL_SHIFTS = 6  # then: steps up and down from the best of them
MAX_PLACING_SIDE = 256  # regions are thinned to about this size to look for a label's spot


@dataclass(frozen=True)
class Region:
    """How one value of a label map is drawn.

    Attributes:
        value: the value in the map.
        label: text to write on it; "" for none.
        color: RGB, 0..255.
        is_thing: things are labelled after stuff, so that their names lie on top.
    """

    value: int
    label: str
    color: RGB
    is_thing: bool = True


def draw_regions(
    image: np.ndarray, label_map: np.ndarray, regions: Sequence[Region], alpha: float = 0.7, banner: str = ""
) -> np.ndarray:
    """Paint regions over a picture, outline them and write their labels.

    Args:
        image: (H, W, 3) uint8, RGB.
        label_map: (H, W) non-negative integers; values without a region are left as they are in the picture.
        regions: how to draw which value.
        alpha: opacity of the colours, 0..1.
        banner: a warning to write across the top; "" for none.

    Returns:
        (H, W, 3) uint8, RGB, a new array.

    Raises:
        ValueError: `alpha` is outside 0..1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is an opacity between 0 and 1, not {alpha}")
    painted = _paint(image, label_map, regions, alpha)
    canvas = Image.fromarray(painted)
    taken: list[Box] = []
    size = _font_size(*image.shape[:2])
    if banner:
        taken.append(_draw_banner(canvas, banner, size))
    _draw_labels(canvas, label_map, regions, size, taken)
    return np.array(canvas)


def _paint(image: np.ndarray, label_map: np.ndarray, regions: Sequence[Region], alpha: float) -> np.ndarray:
    """Blend in the colours, and trace the boundaries between regions."""
    largest = int(label_map.max(initial=0))
    colors = np.zeros((largest + 1, 3), np.uint8)
    drawn = np.zeros(largest + 1, bool)
    for region in regions:
        if 0 <= region.value <= largest:
            colors[region.value] = region.color
            drawn[region.value] = True
    covered = drawn[label_map]
    blended = cv2.addWeighted(np.ascontiguousarray(image), 1 - alpha, colors[label_map], alpha, 0)
    painted = np.where(covered[..., None], blended, image)
    visible = np.where(covered, label_map + 1, 0)  # 0: not drawn
    painted[_boundaries(visible)] = OFF_WHITE
    return painted


def _boundaries(label_map: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels at which the label changes; thicker in larger pictures."""
    edges = np.zeros(label_map.shape, np.uint8)
    edges[:, 1:] |= label_map[:, 1:] != label_map[:, :-1]
    edges[1:] |= label_map[1:] != label_map[:-1]
    thickness = max(1, round(math.sqrt(label_map.size) / 500))
    return cv2.dilate(edges, np.ones((thickness, thickness), np.uint8)).astype(bool)


def _draw_labels(
    canvas: Image.Image, label_map: np.ndarray, regions: Sequence[Region], size: int, taken: list[Box]
) -> None:
    """Write the labels; small regions choose their spot first, things are drawn last."""
    extents = ndimage.find_objects(label_map.astype(np.int32, copy=False))
    jobs = []
    for region in regions:
        extent = extents[region.value - 1] if 0 < region.value <= len(extents) else None
        if region.label and extent is not None:
            mask = label_map[extent] == region.value
            jobs.append((int(np.count_nonzero(mask)), region, extent, mask))
    placed = []
    for area, region, extent, mask in sorted(jobs, key=lambda job: job[0]):
        font = _font(max(9, min(size, round(math.sqrt(area) / 2.5))))
        label_size = _label_size(region.label, font)
        if area < LEAST_LABELLED_SHARE * label_size[0] * label_size[1]:
            continue
        box = _place_label(label_size, extent, mask, canvas.size, taken)
        taken.append(box)
        placed.append((region, font, box))
    drawing = ImageDraw.Draw(canvas, "RGBA")
    for region, font, box in sorted(placed, key=lambda item: item[0].is_thing):
        _draw_label(drawing, region, font, box)


def _draw_label(drawing: ImageDraw.ImageDraw, region: Region, font: ImageFont.FreeTypeFont, box: Box) -> None:
    """White text on a dark shade of the region's colour."""
    red, green, blue = (channel * 2 // 9 for channel in region.color)
    x0, y0, x1, y1 = box
    drawing.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius=(y1 - y0) // 4, fill=(red, green, blue, 205))
    center = ((x0 + x1) / 2, (y0 + y1) / 2)
    drawing.text(center, region.label, font=font, anchor="mm", fill=(*OFF_WHITE, 255))


def _label_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    """(width, height) of a label with its margin, in pixels."""
    left, top, right, bottom = font.getbbox(text, anchor="mm")
    margin = max(1, round(font.size / 5))
    return math.ceil(right - left) + 3 * margin, math.ceil(bottom - top) + 2 * margin


def _place_label(
    size: tuple[int, int],
    extent: tuple[slice, ...],
    mask: np.ndarray,
    canvas_size: tuple[int, int],
    taken: Sequence[Box],
) -> Box:
    """Choose the box of a label: in the widest part of its region, clear of the others where there is room.

    Args:
        size: (width, height) of the label.
        extent: rows and columns of the picture that `mask` shows.
        mask: the region there, bool.
        canvas_size: (width, height) of the picture.
        taken: boxes of the labels that have been placed.
    """
    rows, columns = extent
    centers = [(x + columns.start, y + rows.start) for x, y in _widest_spots(mask)]
    x, y = centers[0]
    steps = [sign * step for step in range(1, LABEL_SHIFTS + 1) for sign in (-1, 1)]
    centers += [(x, y + step * size[1]) for step in steps]
    boxes = [_box_around(center, size, canvas_size) for center in centers]
    overlaps = [sum(_overlap(box, other) for other in taken) for box in boxes]
    return boxes[overlaps.index(min(overlaps))]


def _widest_spots(mask: np.ndarray) -> list[tuple[int, int]]:
    """Centres (x, y) of the largest discs inside a mask, largest first, at most `LABEL_PLACES`."""
    step = max(1, max(mask.shape) // MAX_PLACING_SIDE)
    thinned = mask[::step, ::step].astype(np.uint8)
    if not thinned.any():  # thinning missed a region of single pixels
        y, x = np.argwhere(mask)[0]
        return [(int(x), int(y))]
    # A border of zeros: the edge of the picture bounds a region like any other.
    distance = cv2.distanceTransform(np.pad(thinned, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    least = float(distance.max()) / 2
    spots = []
    for _ in range(LABEL_PLACES):
        radius = float(distance.max())
        if radius < least:
            break
        ridge = np.argwhere(distance >= 0.98 * radius)  # in a long region many discs are as large
        y, x = ridge[np.square(ridge - ridge.mean(axis=0)).sum(axis=1).argmin()].tolist()
        spots.append((x * step, y * step))
        cv2.circle(distance, (x, y), max(1, math.ceil(1.5 * radius)), 0.0, thickness=-1)
    return spots


def _box_around(center: tuple[int, int], size: tuple[int, int], canvas_size: tuple[int, int]) -> Box:
    """A box of `size` (width, height) around `center`, moved into the picture."""
    x0, y0 = (
        max(0, min(round(middle - length / 2), whole - length))
        for middle, length, whole in zip(center, size, canvas_size, strict=True)
    )
    return x0, y0, x0 + size[0], y0 + size[1]


def _overlap(first: Box, second: Box) -> int:
    """Pixels that two boxes share."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(0, width) * max(0, height)


def _draw_banner(canvas: Image.Image, text: str, size: int) -> Box:
    """Write `text` across the top of the picture, as large as its width allows."""
    font = _font(size)
    while font.getlength(text) > canvas.width - size and font.size > 6:
        font = _font(round(font.size) - 1)
    box = (0, 0, canvas.width, min(canvas.height, math.ceil(1.7 * font.size)))
    drawing = ImageDraw.Draw(canvas)
    drawing.rectangle((0, 0, box[2] - 1, box[3] - 1), fill=BANNER_COLOR)
    drawing.text((canvas.width / 2, box[3] / 2), text, font=font, anchor="mm", fill=OFF_WHITE)
    return box


def _font_size(height: int, width: int) -> int:
    """Text size in pixels for a picture of this size."""
    return max(10, round(math.sqrt(height * width) / 45))


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, as matplotlib ships it (many alphabets); else Pillow's own font."""
    spec = importlib.util.find_spec("matplotlib")  # finds the folder without importing matplotlib
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install Pillow from the package index")
    return font
