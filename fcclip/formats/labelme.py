"""LabelMe: a JSON file of polygons per picture, which lies beside the picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcclip.drawing.style import View
from fcclip.files.atomic import write_json
from fcclip.formats.masks import named_masks
from fcclip.formats.polygons import mask_polygons, polygon_ring
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer

LABELME_VERSION = "5.5.0"  # whose fields are written; later versions read them


class LabelMe(Writer):
    """`NAME.json`, for the folder of the pictures."""

    def add(self, result: Result, image: str) -> list[Path]:
        path = self.path(image, ".json")
        record = labelme_record(result, Path(image).name, self.options.tolerance, self.options.view)
        write_json(path, record, indent=2)
        return [path]


def labelme_record(result: Result, image: str, tolerance: float, view: View | None = None) -> dict[str, Any]:
    """The content of a LabelMe file; the parts of an object share a `group_id`, holes are joined by seams.

    Args:
        result: what was found.
        image: name of the picture beside the JSON file.
        tolerance: pixels by which a polygon may deviate from its mask.
        view: what is written; see `named_masks`.
    """
    height, width = result.size
    shapes = [
        {
            "label": mask.name,
            "points": polygon_ring(polygon).astype(float).tolist(),
            "group_id": mask.id,
            "description": "" if mask.score is None else f"score {mask.score:.3f}",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for mask in named_masks(result, view)
        for polygon in mask_polygons(mask.crop, tolerance, mask.box[:2])
    ]
    return {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
