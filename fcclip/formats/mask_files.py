"""A picture file per object or region: its mask in black and white, or what it covers, cut out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from fcclip.formats.masks import NamedMask, named_masks
from fcclip.formats.picture import save_picture
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer

LONGEST_NAME = 60  # characters of a class name in a file name


class MaskFiles(Writer):
    """`NAME/001_cat.png`: 255 where the object is, else 0; as large as the picture."""

    def add(self, result: Result, image: str) -> list[Path]:
        folder = self.path(image, "")
        paths = []
        for mask in named_masks(result, self.options.view):
            paths.append(folder / mask_file_name(mask))
            save_picture(paths[-1], self.pixels(mask, result))
        return paths

    def pixels(self, mask: NamedMask, result: Result) -> np.ndarray:
        """What is written for one mask."""
        return mask.full(result.size).astype(np.uint8) * np.uint8(255)


class Cutouts(MaskFiles):
    """`NAME/001_cat.png`: the object in its box, transparent (alpha 0) around it."""

    def pixels(self, mask: NamedMask, result: Result) -> np.ndarray:
        x0, y0, x1, y1 = mask.box
        return np.dstack([result.image[y0:y1, x0:x1], mask.crop.astype(np.uint8) * np.uint8(255)])


def mask_file_name(mask: NamedMask) -> str:
    """Its id and class, such as "003_brick_wall.png"; letters of any script are kept."""
    name = re.sub(r"[^\w-]+", "_", mask.name).strip("_")[:LONGEST_NAME]
    return f"{mask.id:03d}_{name}.png"
