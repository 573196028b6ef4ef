"""Where names are written: each on its region, none over another, and only as many as a picture can carry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from fcclip.drawing.colors import RGB
from fcclip.drawing.text import TextLine

Box = tuple[int, int, int, int]  # x0, y0, x1, y1; x1 and y1 are outside

OFF_WHITE: RGB = (255, 255, 240)
SMALLEST_TEXT = 9  # pixels
LEAST_LABELLED_SHARE = 0.1  # a region that covers less than this share of its own label gets none
MOST_COVERED = 0.2  # of the picture, by labels
MOST_OVERLAP = 0.05  # of a label, by others; one that finds no better spot is left out
LABEL_PLACES = 6  # spots inside a region that are tried for its label
LABEL_SHIFTS = 6  # then: steps up and down from the best of them
MAX_PLACING_SIDE = 256  # regions are thinned to about this size to look for a label's spot
LABEL_OPACITY = 205  # of 255


@dataclass(frozen=True)
class Region:
    """How one value of a label map is drawn.

    Attributes:
        value: the value in the map.
        label: text to write on it; "" for none.
        color: RGB, 0..255.
        is_thing: things are labelled after stuff, so that their names lie on top.
        box: of the whole object, also where another hides a part; None for that of what is visible.
    """

    value: int
    label: str
    color: RGB
    is_thing: bool = True
    box: Box | None = None


@dataclass(frozen=True, eq=False)
class _Job:
    """A label that is wanted."""

    region: Region
    line: TextLine
    size: tuple[int, int]
    area: int
    extent: tuple[slice, ...]
    mask: np.ndarray


def draw_labels(
    canvas: Image.Image,
    label_map: np.ndarray,
    regions: Sequence[Region],
    size: int,
    taken: Sequence[Box] = (),
    font: Path | None = None,
) -> list[Region]:
    """Write the names of regions into a picture.

    Args:
        canvas: an RGB or RGBA picture, which is changed.
        label_map: (H, W) integers.
        regions: what the values are.
        size: the largest text, in pixels.
        taken: boxes that are to be kept free.
        font: a font file to try first.

    Returns:
        The regions whose names were left out, for want of room.
    """
    jobs = [job for job in _jobs(label_map, regions, size, font) if _is_large_enough(job)]
    # The larger regions share what the picture can carry; of those, the small ones, which have no choice, go first.
    budget = MOST_COVERED * canvas.width * canvas.height
    chosen: list[_Job] = []
    for job in sorted(jobs, key=lambda job: -job.area):
        budget -= job.size[0] * job.size[1]
        if budget >= 0 or not chosen:
            chosen.append(job)
    occupied = list(taken)
    placed: list[tuple[_Job, Box]] = []
    for job in sorted(chosen, key=lambda job: job.area):
        box = _place_label(job, canvas.size, occupied)
        if box is not None:
            occupied.append(box)
            placed.append((job, box))
    for job, box in sorted(placed, key=lambda item: item[0].region.is_thing):
        draw_label(canvas, job.line, job.region.color, box)
    named = {job.region.value for job, _ in placed}
    return [region for region in regions if region.label and region.value not in named]


def _jobs(label_map: np.ndarray, regions: Sequence[Region], size: int, font: Path | None) -> list[_Job]:
    extents = ndimage.find_objects(label_map.astype(np.int32, copy=False))
    jobs = []
    for region in regions:
        extent = extents[region.value - 1] if 0 < region.value <= len(extents) else None
        if region.label and extent is not None:
            mask = label_map[extent] == region.value
            area = int(np.count_nonzero(mask))
            line = TextLine(region.label, max(SMALLEST_TEXT, min(size, round(math.sqrt(area) / 2.5))), font)
            jobs.append(_Job(region, line, label_size(line), area, extent, mask))
    return jobs


def _is_large_enough(job: _Job) -> bool:
    return job.area >= LEAST_LABELLED_SHARE * job.size[0] * job.size[1]


def label_size(line: TextLine) -> tuple[int, int]:
    """(width, height) of a label with its margin, in pixels."""
    margin = max(1, round(line.size / 5))
    return line.width + 3 * margin, line.height + 2 * margin


def draw_label(canvas: Image.Image, line: TextLine, color: RGB, box: Box) -> None:
    """White text on a dark shade of a colour."""
    red, green, blue = (channel * 2 // 9 for channel in color)
    x0, y0, x1, y1 = box
    drawing = ImageDraw.Draw(canvas, "RGBA")
    fill = (red, green, blue, LABEL_OPACITY)
    drawing.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), radius=(y1 - y0) // 4, fill=fill)
    baseline = (y0 + y1 - line.height) / 2 + line.ascent
    line.draw(canvas, (x0 + x1 - line.width) / 2, baseline, OFF_WHITE)


def _place_label(job: _Job, canvas_size: tuple[int, int], taken: Sequence[Box]) -> Box | None:
    """Choose the box of a label: in the widest part of its region, clear of the others; None where there is no room.

    Args:
        job: the label.
        canvas_size: (width, height) of the picture.
        taken: boxes of the labels that have been placed.
    """
    rows, columns = job.extent
    width, height = job.size
    if width > canvas_size[0] or height > canvas_size[1]:
        return None
    centers = [(x + columns.start, y + rows.start) for x, y in _widest_spots(job.mask)]
    x, y = centers[0]
    steps = [sign * step for step in range(1, LABEL_SHIFTS + 1) for sign in (-1, 1)]
    centers += [(x, y + step * height) for step in steps]
    boxes = [_box_around(center, job.size, canvas_size) for center in centers]
    boxes = [box for box in boxes if _touches(box, job)]
    overlaps = [sum(_overlap(box, other) for other in taken) for box in boxes]
    if not boxes or min(overlaps) > MOST_OVERLAP * width * height:
        return None
    return boxes[overlaps.index(min(overlaps))]


def _touches(box: Box, job: _Job) -> bool:
    """Whether a part of the region lies under the box, so that the name cannot be taken for another's."""
    rows, columns = job.extent
    left, right = max(0, box[0] - columns.start), max(0, box[2] - columns.start)
    top, bottom = max(0, box[1] - rows.start), max(0, box[3] - rows.start)
    return bool(job.mask[top:bottom, left:right].any())


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
