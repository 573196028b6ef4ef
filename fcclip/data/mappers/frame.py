"""Where the pixels of an image go when it is augmented, and annotations with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from detectron2.data import transforms as T
from pycocotools import mask as mask_util


@dataclass(frozen=True)
class Frame:
    """One draw of the augmentations.

    Attributes:
        transforms: what was done to the image.
        height, width: its size after them.
        side: > 0 to cut and pad the result, right and below, to a square of this side.
        source: height and width of the image before; what is placed must have them. None: whatever it has.
    """

    transforms: T.TransformList
    height: int
    width: int
    side: int = -1
    source: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result."""
        return (self.side, self.side) if self.side > 0 else (self.height, self.width)

    def pad(self, pixels: np.ndarray, value: int) -> np.ndarray:
        """Bring transformed pixels, (height, width) or (height, width, C), to the final size."""
        if pixels.shape[:2] == self.size:
            return pixels
        pixels = pixels[: self.side, : self.side]
        below, right = self.side - pixels.shape[0], self.side - pixels.shape[1]
        return np.pad(pixels, [(0, below), (0, right)] + [(0, 0)] * (pixels.ndim - 2), constant_values=value)

    def place(self, marks: np.ndarray) -> np.ndarray:
        """Take an (H, W) uint8 map of marks 1..254, 0 for none, along with the image; nearest neighbour.

        Detectron2's transforms pad with 0 or, since 2023, with 255; neither is a mark.

        Raises:
            ValueError: the map is not of the image's size.
        """
        if self.source is not None and marks.shape != self.source:
            (height, width), (image_height, image_width) = marks.shape, self.source
            raise ValueError(
                f"an annotation is {width} x {height} pixels, but its image {image_width} x {image_height}"
            )
        return self.pad(self.transforms.apply_segmentation(marks), 0)

    def place_segmentation(self, segmentation: Any) -> np.ndarray:
        """Rasterise COCO's "segmentation" (polygons, RLE) or an (H, W) array in the frame: bool of `size`.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(segmentation, list):
            return self.pad(self._rasterise(segmentation), 0)
        if isinstance(segmentation, dict):
            height, width = segmentation["size"]
            if isinstance(segmentation["counts"], list):
                segmentation = mask_util.frPyObjects(segmentation, height, width)
            segmentation = mask_util.decode(segmentation)
        if not isinstance(segmentation, np.ndarray) or segmentation.ndim != 2:
            raise ValueError(
                f"cannot read a segmentation of type {type(segmentation).__name__}; it must be a list of polygons, a "
                "run-length encoding, or a two-dimensional array"
            )
        return self.place((segmentation > 0).astype(np.uint8)) == 1

    def _rasterise(self, polygons: Sequence[Sequence[float]]) -> np.ndarray:
        """Move polygons (x, y, x, y, ...) and fill them.

        What lies outside of the frame is left out by the filling, so the polygons need not be clipped before.
        """
        moved = [
            self.transforms.apply_coords(np.asarray(polygon, dtype=np.float64).reshape(-1, 2)).reshape(-1).tolist()
            for polygon in polygons
            if len(polygon) >= 6
        ]
        if not moved:
            return np.zeros((self.height, self.width), dtype=bool)
        return mask_util.decode(mask_util.merge(mask_util.frPyObjects(moved, self.height, self.width))).astype(bool)
