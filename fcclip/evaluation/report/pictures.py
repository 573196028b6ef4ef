"""Pictures of what a model says about an image, beside the ground truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from detectron2.data.catalog import Metadata
from PIL import Image

from fcclip.drawing.colors import class_color
from fcclip.evaluation.base import Comparison
from fcclip.evaluation.classes import display_names
from fcclip.files.images import read_image

UNKNOWN = (24, 24, 27)
OUTLINE = (255, 255, 255)
GAP = 6  # pixels between two pictures
LONGEST_SIDE = 480  # of each picture of a row

Show = Callable[[str, np.ndarray], None]  # name, (H, W, 3) uint8


def show_pictures(show: Show, dataset: str, compared: Mapping[str, Comparison], metadata: Metadata) -> None:
    """Call `show` for each compared image with its name and with image, ground truth and prediction side by side."""
    colors = class_colors(metadata)
    for file_name, comparison in compared.items():
        show(f"{dataset}/{Path(file_name).stem}", side_by_side(file_name, comparison, colors))


def side_by_side(file_name: str, comparison: Comparison, colors: np.ndarray) -> np.ndarray:
    """Image, ground truth and prediction in one picture: (h, w, 3) uint8, each at most `LONGEST_SIDE` on a side."""
    step = -(-max(comparison.true.shape) // LONGEST_SIDE)
    true, predicted, true_segments, predicted_segments = (maps[::step, ::step] for maps in vars(comparison).values())
    gap = np.full((true.shape[0], GAP, 3), 255, np.uint8)
    panels = (
        photo(file_name, true.shape),
        gap,
        paint(true, true_segments, colors),
        gap,
        paint(predicted, predicted_segments, colors),
    )
    return np.concatenate(panels, axis=1)


def photo(file_name: str, size: tuple[int, ...]) -> np.ndarray:
    """The image at (height, width): (H, W, 3) uint8."""
    return np.asarray(Image.fromarray(read_image(file_name)).resize((size[1], size[0])))


def class_names(metadata: Metadata) -> list[str]:
    """The name of each contiguous class to be displayed."""
    return display_names(metadata.get("stuff_classes") or metadata.get("thing_classes") or [])


def class_colors(metadata: Metadata) -> np.ndarray:
    """(C + 1, 3) uint8; the last row is for pixels without a class, so that -1 finds it."""
    classes = len(class_names(metadata))
    colors = metadata.get("stuff_colors") or []
    if len(colors) != classes:
        colors = [class_color(index) for index in range(classes)]
    return np.array([*colors, UNKNOWN], dtype=np.uint8)


def paint(labels: np.ndarray, segments: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Class colours with outlines between segments: (H, W, 3) uint8."""
    painted = colors[labels]
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= segments[:, 1:] != segments[:, :-1]
    edge[1:] |= segments[1:] != segments[:-1]
    painted[edge] = OUTLINE
    return painted
