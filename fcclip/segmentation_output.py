"""The forms in which a segmentation leaves the program: picture, table, JSON and COCO panoptic files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from tabulate import tabulate

from fcclip.drawing.colors import RGB, class_color, vary_color
from fcclip.drawing.regions import Region, draw_regions
from fcclip.files.atomic import atomic_path
from fcclip.files.panoptic import write_panoptic_json, write_panoptic_png

if TYPE_CHECKING:
    from fcclip.segmentation import Instances, Segment, Segmentation
    from fcclip.vocabulary import Vocabulary

RANDOM_WEIGHTS_WARNING = "RANDOM WEIGHTS: these segments and names mean nothing"


def draw(segmentation: Segmentation, alpha: float) -> np.ndarray:
    """Paint a result over its picture; see `Segmentation.draw`."""
    vocabulary = segmentation.vocabulary
    if segmentation.panoptic is not None:
        label_map, regions = segmentation.panoptic, _segment_regions(segmentation.segments, vocabulary)
    elif segmentation.semantic is not None:
        label_map = segmentation.semantic + 1  # class 0 is a class too
        regions = [
            Region(category + 1, _name(vocabulary, category), _color(vocabulary, category), is_thing=False)
            for category, _ in segmentation.semantic_areas()
        ]
    else:
        label_map, regions = _flatten_instances(_instances(segmentation), segmentation.size, vocabulary)
    banner = RANDOM_WEIGHTS_WARNING if segmentation.random_weights else ""
    return draw_regions(segmentation.image, label_map, regions, alpha, banner)


def save_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB to an image file, atomically; ValueError if the suffix is not an image format's."""
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(f'"{path.name}" does not end like an image file; use .png or .jpg')
    with atomic_path(path) as scratch:
        Image.fromarray(picture).save(scratch, quality=95)


def write_coco_panoptic(segmentation: Segmentation, folder: Path, name: str, image_id: int) -> tuple[Path, Path]:
    """Write ``name.png`` and ``name.json``; see `Segmentation.to_coco_panoptic`."""
    if segmentation.panoptic is None:
        raise ValueError("there is no panoptic result to write; set MODEL.MASK_FORMER.TEST.PANOPTIC_ON to True")
    png, json = folder / f"{name}.png", folder / f"{name}.json"
    vocabulary = segmentation.vocabulary
    height, width = segmentation.size
    write_panoptic_png(png, segmentation.panoptic)
    write_panoptic_json(
        json,
        annotations=[
            {
                "image_id": image_id,
                "file_name": png.name,
                "segments_info": [_coco_record(segment) for segment in segmentation.segments],
            }
        ],
        categories=[
            {
                "id": index,
                "name": category.name,
                "supercategory": category.name,
                "isthing": int(category.is_thing),
                "color": list(_color(vocabulary, index)),
            }
            for index, category in enumerate(vocabulary.categories)
        ],
        images=[{"id": image_id, "file_name": name, "height": height, "width": width}],
    )
    return png, json


def to_dict(segmentation: Segmentation) -> dict[str, Any]:
    """Everything but the pixels, ready for JSON; see `Segmentation.to_dict`."""
    height, width = segmentation.size
    result: dict[str, Any] = {"height": height, "width": width, "random_weights": segmentation.random_weights}
    if segmentation.panoptic is not None:
        result["segments"] = [{**vars(segment), "box": list(segment.box)} for segment in segmentation.segments]
    if segmentation.instances is not None:
        result["instances"] = _instance_records(segmentation.instances, segmentation.vocabulary)
    if segmentation.semantic is not None:
        result["semantic"] = [
            {"name": _name(segmentation.vocabulary, category), "category_id": category, "area": area}
            for category, area in segmentation.semantic_areas()
        ]
    return result


def table(segmentation: Segmentation) -> str:
    """A text table of what `draw` shows; see `Segmentation.table`."""
    vocabulary = segmentation.vocabulary
    pixels = segmentation.size[0] * segmentation.size[1]
    if segmentation.panoptic is not None:
        text = _segment_table(segmentation.segments, pixels)
    elif segmentation.semantic is not None:
        rows = [
            [_name(vocabulary, category), _kind(category in vocabulary.thing_ids), _share(area, pixels)]
            for category, area in segmentation.semantic_areas()
        ]
        text = _align({"name": "left", "kind": "left", "area": "right"}, rows)
    else:
        text = _instance_table(_instance_records(_instances(segmentation), vocabulary), pixels)
    return f"{RANDOM_WEIGHTS_WARNING}\n{text}" if segmentation.random_weights else text


def _segment_table(segments: tuple[Segment, ...], pixels: int) -> str:
    columns = {"id": "right", "name": "left", "kind": "left", "score": "right", "area": "right", "box": "left"}
    rows = [
        [
            str(segment.id),
            segment.name,
            _kind(segment.is_thing),
            f"{segment.score:.3f}",
            _share(segment.area, pixels),
            " ".join(map(str, segment.box)),
        ]
        for segment in sorted(segments, key=lambda segment: -segment.area)
    ]
    return _align(columns, rows)


def _instance_table(records: list[dict[str, Any]], pixels: int) -> str:
    columns = {"name": "left", "score": "right", "area": "right", "box": "left"}
    rows = [
        [
            record["name"],
            f"{record['score']:.3f}",
            _share(record["area"], pixels),
            " ".join(f"{coordinate:.0f}" for coordinate in record["box"]),
        ]
        for record in sorted(records, key=lambda record: -record["score"])
    ]
    return _align(columns, rows)


def _align(columns: dict[str, str], rows: list[list[str]]) -> str:
    """Lay out a table; `columns` maps a heading to "left" or "right"."""
    if not rows:
        return "nothing found"
    return tabulate(rows, list(columns), tablefmt="simple", colalign=list(columns.values()), disable_numparse=True)


def _segment_regions(segments: tuple[Segment, ...], vocabulary: Vocabulary) -> list[Region]:
    seen: Counter[int] = Counter()
    regions = []
    for segment in segments:
        color = vary_color(_color(vocabulary, segment.category_id), seen[segment.category_id])
        regions.append(Region(segment.id, segment.name, color, segment.is_thing))
        seen[segment.category_id] += 1
    return regions


def _flatten_instances(
    instances: Instances, size: tuple[int, int], vocabulary: Vocabulary
) -> tuple[np.ndarray, list[Region]]:
    """Lay instances over each other, the most certain on top: an (H, W) map and what its values are."""
    label_map = np.zeros(size, np.int32)
    seen: Counter[int] = Counter()
    regions = []
    for value, index in enumerate(np.argsort(instances.scores, kind="stable").tolist(), start=1):
        label_map[instances.masks[index]] = value
        category = int(instances.category_ids[index])
        label = f"{_name(vocabulary, category)} {100 * instances.scores[index]:.0f}%"
        regions.append(Region(value, label, vary_color(_color(vocabulary, category), seen[category])))
        seen[category] += 1
    return label_map, regions


def _instances(segmentation: Segmentation) -> Instances:
    """The instances of a result that has nothing else, and therefore has them."""
    assert segmentation.instances is not None
    return segmentation.instances


def _instance_records(instances: Instances, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    return [
        {"name": _name(vocabulary, category), "category_id": category, "score": score, "area": area, "box": box}
        for category, score, area, box in zip(
            instances.category_ids.tolist(),
            instances.scores.tolist(),
            np.count_nonzero(instances.masks, axis=(1, 2)).tolist(),
            instances.boxes.tolist(),
            strict=True,
        )
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


def _color(vocabulary: Vocabulary, category_id: int) -> RGB:
    return vocabulary.categories[category_id].color or class_color(category_id)


def _name(vocabulary: Vocabulary, category_id: int) -> str:
    return vocabulary.categories[category_id].name


def _kind(is_thing: bool) -> str:
    return "thing" if is_thing else "stuff"


def _share(area: int, pixels: int) -> str:
    return f"{100 * area / pixels:.1f}%"
