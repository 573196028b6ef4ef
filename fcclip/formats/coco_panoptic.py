"""COCO panoptic files: a PNG of segment ids per picture, and one JSON file that describes them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcclip.files.panoptic import write_panoptic_json, write_panoptic_png
from fcclip.formats.result import Result, Segment
from fcclip.formats.writer import Writer


class CocoPanoptic(Writer):
    """`panoptic.json`, and the PNGs in the folder `panoptic` beside it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories: list[dict[str, Any]] = []

    def add(self, result: Result, image: str) -> list[Path]:
        path = self.path(f"panoptic/{image}", ".png")
        png = path.relative_to(self.folder / "panoptic").as_posix()
        height, width = result.size
        image_id = len(self._images) + 1
        annotation = coco_panoptic_annotation(result, image_id, png)
        write_panoptic_png(path, panoptic_map(result))
        self._images.append({"id": image_id, "file_name": image, "height": height, "width": width})
        self._annotations.append(annotation)
        self._categories = coco_categories(result)
        return [path]

    def finish(self) -> list[Path]:
        path = self.folder / "panoptic.json"
        write_panoptic_json(path, self._annotations, self._categories, self._images)
        return [path]


def write_coco_panoptic(
    result: Result, folder: Path, name: str, image_id: int, overwrite: bool = False
) -> tuple[Path, Path]:
    """Write `name.png` and `name.json`; see `Segmentation.to_coco_panoptic`."""
    ids = panoptic_map(result)
    if Path(name).name != name:
        raise ValueError(f'"{name}" leads out of the folder; give the name of a file alone, without a suffix')
    png, json = folder / f"{name}.png", folder / f"{name}.json"
    for path in (png, json):
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} is there already; give each picture a name of its own, or overwrite=True")
    height, width = result.size
    write_panoptic_png(png, ids)
    write_panoptic_json(
        json,
        annotations=[coco_panoptic_annotation(result, image_id, png.name)],
        categories=coco_categories(result),
        images=[{"id": image_id, "file_name": name, "height": height, "width": width}],
    )
    return png, json


def panoptic_map(result: Result) -> Any:
    """The (H, W) map of segment ids; ValueError if there is none."""
    if result.panoptic is None:
        raise ValueError("there is no panoptic result to write; set MODEL.MASK_FORMER.TEST.PANOPTIC_ON to True")
    return result.panoptic


def coco_panoptic_annotation(result: Result, image_id: int, png: str) -> dict[str, Any]:
    """The record that describes one PNG."""
    return {
        "image_id": image_id,
        "file_name": png,
        "segments_info": [_coco_record(segment) for segment in result.segments],
    }


def coco_categories(result: Result) -> list[dict[str, Any]]:
    """The vocabulary as COCO's categories; an id is a position in it, from 0."""
    return [
        {
            "id": index,
            "name": category.name,
            "supercategory": category.name,
            "isthing": int(category.is_thing),
            "color": list(result.color_of(index)),
        }
        for index, category in enumerate(result.vocabulary.categories)
    ]


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
