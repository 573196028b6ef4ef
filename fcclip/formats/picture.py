"""The picture of a result, drawn and written to a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fcclip.drawing.colors import vary_color
from fcclip.drawing.regions import Region, draw_regions
from fcclip.files.atomic import atomic_path
from fcclip.formats.result import RANDOM_WEIGHTS_WARNING, Result


def draw_result(result: Result, alpha: float) -> np.ndarray:
    """Paint a result over its picture; see `Segmentation.draw`."""
    if result.panoptic is not None:
        label_map, regions = result.panoptic, _segment_regions(result)
    elif result.semantic is not None:
        label_map = result.semantic + 1  # class 0 is a class too
        regions = [
            Region(category + 1, result.name_of(category), result.color_of(category), is_thing=False)
            for category, _ in result.semantic_areas()
        ]
    else:
        label_map, regions = _flatten_instances(result)
    banner = RANDOM_WEIGHTS_WARNING if result.random_weights else ""
    return draw_regions(result.image, label_map, regions, alpha, banner)


def save_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a picture to an image file, atomically.

    Args:
        path: its suffix says in which format.
        picture: uint8, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.

    Raises:
        ValueError: the suffix is not that of an image format.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in Image.registered_extensions():
        raise ValueError(f'"{path.name}" does not end like an image file; use .png or .jpg')
    with atomic_path(path) as scratch:
        if suffix == ".png":
            scratch.write_bytes(encode_png(picture))
        else:
            Image.fromarray(picture).save(scratch, quality=95)


def encode_png(picture: np.ndarray) -> bytes:
    """The bytes of a PNG file; see `save_picture`.

    OpenCV's light compression: of a drawn photograph of 24 megapixels it is ten times as fast as Pillow's and smaller.
    """
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    pixels = picture if picture.ndim == 2 else cv2.cvtColor(picture, order[picture.shape[2]])
    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    return data.tobytes()


def _segment_regions(result: Result) -> list[Region]:
    seen: Counter[int] = Counter()
    regions = []
    for segment in result.segments:
        color = vary_color(result.color_of(segment.category_id), seen[segment.category_id])
        regions.append(Region(segment.id, segment.name, color, segment.is_thing))
        seen[segment.category_id] += 1
    return regions


def _flatten_instances(result: Result) -> tuple[np.ndarray, list[Region]]:
    """Lay instances over each other, the most certain on top: an (H, W) map and what its values are."""
    instances = result.instances
    assert instances is not None  # a result without maps has instances
    label_map = np.zeros(result.size, np.int32)
    seen: Counter[int] = Counter()
    regions = []
    for value, index in enumerate(np.argsort(instances.scores, kind="stable").tolist(), start=1):
        label_map[instances.masks[index]] = value
        category = int(instances.category_ids[index])
        label = f"{result.name_of(category)} {100 * instances.scores[index]:.0f}%"
        regions.append(Region(value, label, vary_color(result.color_of(category), seen[category])))
        seen[category] += 1
    return label_map, regions
