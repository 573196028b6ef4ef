"""YOLO segmentation: a text file of polygons per picture, and the `data.yaml` that names the classes.

Source: https://docs.ultralytics.com/datasets/segment/, "Ultralytics YOLO format": one line per object, the class and
then x and y of the corners as shares of the width and height.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from fcclip.drawing.style import View
from fcclip.files.atomic import write_text
from fcclip.formats.coco_instances import objects_view
from fcclip.formats.masks import named_masks
from fcclip.formats.picture import save_picture
from fcclip.formats.polygons import join_rings, mask_polygons
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer


class Yolo(Writer):
    """`labels/*.txt`, the pictures in `images/` (upright, as the labels are), and `data.yaml`."""

    _names: tuple[str, ...] = ()

    def add(self, result: Result, image: str) -> list[Path]:
        labels, picture = self.path(f"labels/{image}", ".txt"), self.path(f"images/{image}", ".jpg")
        lines = yolo_lines(result, self.options.tolerance, self.options.view)
        write_text(labels, "".join(f"{line}\n" for line in lines))
        save_picture(picture, result.image)
        self._names = tuple(category.name for category in result.vocabulary.categories)
        return [labels, picture]

    def finish(self) -> list[Path]:
        path = self.folder / "data.yaml"
        content = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(self._names))}
        write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        return [path]


def yolo_lines(result: Result, tolerance: float, view: View | None = None) -> list[str]:
    """One line per object; parts and holes are joined to one outline by seams without area, as YOLO's tools do."""
    height, width = result.size
    lines = []
    for mask in named_masks(result, view or objects_view(result)):
        polygons = mask_polygons(mask.crop, tolerance, mask.box[:2])
        ring = join_rings([ring for polygon in polygons for ring in (polygon.outer, *polygon.holes)])
        corners = ring / (width, height)
        lines.append(" ".join([str(mask.category_id), *(f"{share:.6f}" for share in corners.ravel().tolist())]))
    return lines
