"""Bring a test image to the size that a model expects, with Pillow (as Detectron2) or OpenCV (as mmsegmentation)."""

from __future__ import annotations

import numpy as np
from detectron2.data.transforms import Augmentation, NoOpTransform, ResizeTransform, Transform
from PIL import Image

from fcclip.files.resizing import resize_picture, resized_shape

LIBRARIES = ("pillow", "opencv")


class ResizeShorterSide(Augmentation):
    """Resize the shorter side to a length, the longer to at most another, bilinearly.

    Pillow averages over all pixels that fall together when an image gets smaller; OpenCV takes two by two.

    Args:
        min_size: length of the shorter side in pixels; 0 leaves the image as it is.
        max_size: the most that the longer side may get.
        library: pillow or opencv.
    """

    def __init__(self, min_size: int, max_size: int, library: str = "pillow") -> None:
        super().__init__()
        if library not in LIBRARIES:
            raise ValueError(f"INPUT.RESIZING_TEST must be one of {', '.join(LIBRARIES)}, not {library!r}")
        self.min_size, self.max_size, self.library = min_size, max_size, library

    def get_transform(self, image: np.ndarray) -> Transform:
        height, width = image.shape[:2]
        if self.min_size == 0:
            return NoOpTransform()
        new_height, new_width = self.output_size(height, width)
        kind = ResizeTransform if self.library == "pillow" else OpenCVResizeTransform
        return kind(height, width, new_height, new_width, interp=Image.Resampling.BILINEAR)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width to which an image of this size is resized."""
        return resized_shape(height, width, self.min_size, self.max_size)


class OpenCVResizeTransform(ResizeTransform):
    """Detectron2's resize, of images by OpenCV."""

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        return resize_picture(img, self.new_h, self.new_w, "opencv")
