# ruff: noqa: NPY002, the published code draws from the global generator
"""Random changes of scale, place and colour as mmsegmentation 0.24 makes them, draw by draw.

All random numbers come from NumPy's global generator, in the published order, so that equal seeds give equal pixels.
Images are (H, W, 3) uint8 in the order BGR, label maps (H, W) uint8.
"""

from __future__ import annotations

import cv2
import numpy as np

CROP_ATTEMPTS = 10
BRIGHTNESS = 32.0  # largest change
FACTORS = (0.5, 1.5)  # of contrast and saturation
HUE = 18  # largest change, in degrees / 2


def random_rescale(
    image: np.ndarray, labels: np.ndarray, long: int, short: int, scales: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Resize to fit into a box of random scale, keeping the proportions.

    Args:
        image, labels: see above.
        long, short: sides of the box at scale 1; its long side goes along the image's.
        scales: range of the scale.
    """
    ratio = np.random.random_sample() * (scales[1] - scales[0]) + scales[0]
    sides = sorted((int(long * ratio), int(short * ratio)))
    height, width = labels.shape
    factor = min(sides[1] / max(height, width), sides[0] / min(height, width))
    size = int(width * factor + 0.5), int(height * factor + 0.5)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return resized, cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)


def random_crop(
    image: np.ndarray, labels: np.ndarray, side: int, largest_share: float, ignore: int = 255
) -> tuple[np.ndarray, np.ndarray]:
    """Cut out a square, or less where the image is smaller.

    It is redrawn, up to ten times, until it shows two classes and none of them fills more than `largest_share` of the
    pixels that are not ignored; the last one is taken as it is.
    """
    box = _draw_box(labels, side)
    for _ in range(CROP_ATTEMPTS):
        classes, counts = np.unique(labels[box], return_counts=True)
        counts = counts[classes != ignore]
        if len(counts) > 1 and counts.max() / counts.sum() < largest_share:
            break
        box = _draw_box(labels, side)
    return image[box], labels[box]


def random_flip(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirror left and right every second time."""
    if np.random.rand() < 0.5:
        return image[:, ::-1], labels[:, ::-1]
    return image, labels


def distort_colors(image: np.ndarray) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, each every second time.

    Source: Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, section 2.2.
    """
    if _coin():
        image = _scale(image, shift=np.random.uniform(-BRIGHTNESS, BRIGHTNESS))
    contrast_first = _coin()
    if contrast_first:
        image = _random_contrast(image)
    if _coin():
        hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2HSV)
        hsv[..., 1] = _scale(hsv[..., 1], np.random.uniform(*FACTORS))
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if _coin():
        hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_BGR2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + np.random.randint(-HUE, HUE)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return image if contrast_first else _random_contrast(image)


def _random_contrast(image: np.ndarray) -> np.ndarray:
    return _scale(image, np.random.uniform(*FACTORS)) if _coin() else image


def _coin() -> bool:
    return bool(np.random.randint(2))


def _scale(pixels: np.ndarray, factor: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.clip(pixels.astype(np.float32) * factor + shift, 0, 255).astype(np.uint8)


def _draw_box(labels: np.ndarray, side: int) -> tuple[slice, slice]:
    top, left = (np.random.randint(0, max(size - side, 0) + 1) for size in labels.shape)
    return slice(top, top + side), slice(left, left + side)
