"""COCO instances: one JSON file with a mask per object, as run lengths or as polygons.

Source: https://cocodataset.org/#format-data, "Object Detection".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcclip.drawing.style import View
from fcclip.files.atomic import write_json
from fcclip.files.rle import encode_mask
from fcclip.formats.coco_panoptic import coco_categories
from fcclip.formats.masks import NamedMask, named_masks
from fcclip.formats.polygons import mask_polygons, polygon_ring
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer


class CocoInstances(Writer):
    """`instances.json`, masks as run lengths: exact, and what COCO's tools read fastest."""

    as_polygons = False
    file_name = "instances.json"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories: list[dict[str, Any]] = []

    def add(self, result: Result, image: str) -> list[Path]:
        height, width = result.size
        image_id = len(self._images) + 1
        self._images.append({"id": image_id, "file_name": image, "height": height, "width": width})
        self._categories = coco_categories(result)
        for mask in named_masks(result, self.options.view or objects_view(result)):
            record = coco_annotation(mask, result.size, self.options.tolerance if self.as_polygons else None)
            self._annotations.append({"id": len(self._annotations) + 1, "image_id": image_id, **record})
        return []

    def finish(self) -> list[Path]:
        path = self.folder / self.file_name
        content = {"images": self._images, "annotations": self._annotations, "categories": self._categories}
        write_json(path, content)
        return [path]


class CocoPolygons(CocoInstances):
    """`instances.json`, masks as polygons, one per part; a hole is joined to its outline by a seam without area."""

    as_polygons = True


def objects_view(result: Result) -> View | None:
    """Instances where the result has them; else what is there."""
    return None if result.instances is None else "instances"


def coco_annotation(mask: NamedMask, size: tuple[int, int], tolerance: float | None = None) -> dict[str, Any]:
    """The record of one object; area and box are those of the mask, also where polygons are simpler than it.

    Args:
        mask: the object.
        size: (height, width) of the picture.
        tolerance: pixels by which polygons may deviate; None for run lengths.
    """
    x0, y0, x1, y1 = mask.box
    record = {
        "category_id": mask.category_id,
        "segmentation": encode_mask(mask.full(size)) if tolerance is None else coco_polygons(mask, tolerance),
        "area": mask.area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
    }
    return record if mask.score is None else {**record, "score": mask.score}


def coco_polygons(mask: NamedMask, tolerance: float) -> list[list[float]]:
    """A flat list x, y, x, y, ... per part of the mask."""
    polygons = mask_polygons(mask.crop, tolerance, mask.box[:2])
    return [polygon_ring(polygon).astype(float).ravel().tolist() for polygon in polygons]
