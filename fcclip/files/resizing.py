"""The size of a picture for a network, and bringing it there; as Detectron2 does it, but without it."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image


def resized_shape(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """Height and width of a picture whose shorter side becomes `min_size`, the longer one at most `max_size`.

    A `min_size` of 0 leaves it as it is. No side becomes 0.

    Source: Detectron2's `ResizeShortestEdge`, to the pixel.
    """
    if min_size == 0:
        return height, width
    scale = min_size * 1.0 / min(height, width)
    sides: tuple[float, float] = (min_size, scale * width) if height < width else (scale * height, min_size)
    if max(sides) > max_size:
        scale = max_size * 1.0 / max(sides)
        sides = (sides[0] * scale, sides[1] * scale)
    return max(1, int(sides[0] + 0.5)), max(1, int(sides[1] + 0.5))


def resize_picture(image: np.ndarray, height: int, width: int, library: str) -> np.ndarray:
    """Resize (H, W, 3) uint8 bilinearly with "pillow" or "opencv", which differ where a picture gets smaller."""
    if image.shape[:2] == (height, width):
        return image
    if library == "opencv":
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
