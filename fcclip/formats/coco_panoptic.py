"""COCO panoptic files: a PNG of segment ids and the JSON that describes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcclip.files.panoptic import write_panoptic_json, write_panoptic_png
from fcclip.formats.result import Result, Segment


def write_coco_panoptic(result: Result, folder: Path, name: str, image_id: int) -> tuple[Path, Path]:
    """Write ``name.png`` and ``name.json``; see `Segmentation.to_coco_panoptic`."""
    if result.panoptic is None:
        raise ValueError("there is no panoptic result to write; set MODEL.MASK_FORMER.TEST.PANOPTIC_ON to True")
    png, json = folder / f"{name}.png", folder / f"{name}.json"
    vocabulary = result.vocabulary
    height, width = result.size
    write_panoptic_png(png, result.panoptic)
    write_panoptic_json(
        json,
        annotations=[
            {
                "image_id": image_id,
                "file_name": png.name,
                "segments_info": [_coco_record(segment) for segment in result.segments],
            }
        ],
        categories=[
            {
                "id": index,
                "name": category.name,
                "supercategory": category.name,
                "isthing": int(category.is_thing),
                "color": list(result.color_of(index)),
            }
            for index, category in enumerate(vocabulary.categories)
        ],
        images=[{"id": image_id, "file_name": name, "height": height, "width": width}],
    )
    return png, json


def _coco_record(segment: Segment) -> dict[str, Any]:
    x0, y0, x1, y1 = segment.box
    return {
        "id": segment.id,
        "category_id": segment.category_id,
        "area": segment.area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
        "score": segment.score,
    }
