"""Small exports in the layouts in which public annotation tools write COCO files; facts of the formats only."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

CLASSES = ("box", "disc")


@dataclass(frozen=True)
class Picture:
    """A picture and its objects.

    Attributes:
        pixels: (H, W, 3) uint8.
        objects: (class, (H, W) bool mask) of each.
    """

    pixels: np.ndarray
    objects: Sequence[tuple[int, np.ndarray]]


def pictures(count: int = 3, side: int = 64) -> list[Picture]:
    """A bright box and a bright disc on noise, in every picture."""
    found = []
    for index in range(count):
        rng = np.random.default_rng(index)
        pixels = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
        box, disc = np.zeros((2, side, side), np.uint8)
        left, top = (int(value) for value in rng.integers(2, 8, 2))
        cv2.rectangle(box, (left, top), (left + 19, top + 24), 1, -1)
        cv2.circle(disc, (side - 18, side - 20), 10 + index, 1, -1)
        for mask, color in ((box, (250, 80, 60)), (disc, (60, 90, 250))):
            pixels[mask > 0] = color
        found.append(Picture(pixels, [(0, box > 0), (1, disc > 0)]))
    return found


def polygon_of(mask: np.ndarray) -> list[float]:
    """The outline of a mask of one piece: x, y, x, y, ..."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [float(value) for value in max(contours, key=len).reshape(-1)]


def runs_of(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths of a mask, column by column, beginning with the background."""
    flat = mask.T.reshape(-1).astype(np.int8)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges.tolist(), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + counts}


def box_of(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(columns[0]), float(rows[0]), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1)]


def roboflow(folder: Path, given: Sequence[Picture], classes: Sequence[str] = CLASSES) -> dict[str, str]:
    """Roboflow, "COCO Segmentation": images beside the JSON, all ids from 0, the project as category 0."""
    heads = [{"id": 0, "name": classes[0], "supercategory": "none"}]
    heads += [{"id": i, "name": name, "supercategory": classes[0]} for i, name in enumerate(classes, start=1)]
    images, annotations = [], []
    for index, picture in enumerate(given):
        name = f"shot-{index}_png.rf.{index:032x}.png"
        _save(folder / "train" / name, picture)
        extra = {"license": 1, "date_captured": "2026-01-01T00:00:00+00:00", "extra": {"name": f"shot-{index}.png"}}
        images.append({"id": index, "file_name": name, **_size(picture), **extra})
        for category, mask in picture.objects:
            box = box_of(mask)
            fields = {"bbox": box, "area": box[2] * box[3], "segmentation": [polygon_of(mask)], "iscrowd": 0}
            annotations.append({"id": len(annotations), "image_id": index, "category_id": category + 1, **fields})
    path = _write(folder / "train/_annotations.coco.json", images, annotations, heads)
    return _entry(folder / "train", path)


def cvat(folder: Path, given: Sequence[Picture], classes: Sequence[str] = CLASSES) -> dict[str, str]:
    """CVAT, "COCO 1.0": polygons, and a brush mask of the first object once more as a crowd of run lengths."""
    images, annotations = [], []
    for index, picture in enumerate(given, start=1):
        name = f"shot {index}.png"
        _save(folder / "images" / name, picture)
        more = {"license": 0, "flickr_url": "", "coco_url": "", "date_captured": 0}
        images.append({"id": index, "file_name": name, **_size(picture), **more})
        shapes = [(category, mask, [polygon_of(mask)], 0) for category, mask in picture.objects]
        if index == 1:
            category, mask = picture.objects[0]
            shapes.append((category, mask, runs_of(mask), 1))  # type: ignore[arg-type]
        for category, mask, segmentation, crowd in shapes:
            fields = {"bbox": box_of(mask), "area": float(mask.sum()), "segmentation": segmentation, "iscrowd": crowd}
            ids = {"id": len(annotations) + 1, "image_id": index, "category_id": category + 1}
            annotations.append({**ids, **fields, "attributes": {"occluded": False}})
    return _entry(
        folder / "images", _write(folder / "annotations/instances_default.json", images, annotations, _from(1, classes))
    )


def labelme2coco(folder: Path, given: Sequence[Picture], classes: Sequence[str] = CLASSES) -> dict[str, str]:
    """labelme's labelme2coco.py: images in JPEGImages, their names with the folder, all ids from 0."""
    images, annotations = [], []
    for index, picture in enumerate(given):
        name = f"JPEGImages/{index}.png"
        _save(folder / name, picture)
        images.append(
            {"license": 0, "url": None, "file_name": name, **_size(picture), "date_captured": None, "id": index}
        )
        for category, mask in picture.objects:
            ids = {"id": len(annotations), "image_id": index, "category_id": category}
            annotations.append(
                {
                    **ids,
                    "segmentation": [polygon_of(mask)],
                    "area": float(mask.sum()),
                    "bbox": box_of(mask),
                    "iscrowd": 0,
                }
            )
    return _entry(folder, _write(folder / "annotations.json", images, annotations, _from(0, classes)))


def via(folder: Path, given: Sequence[Picture], classes: Sequence[str] = CLASSES) -> dict[str, str]:
    """VGG Image Annotator 2: polygons as flat lists, image ids as strings, annotation ids from 0."""
    images, annotations = [], []
    for index, picture in enumerate(given, start=1):
        name = f"{index}.png"
        _save(folder / "images" / name, picture)
        images.append({"id": index, "file_name": name, **_size(picture), "license": 0, "date_captured": ""})
        for category, mask in picture.objects:
            ids = {"id": len(annotations), "image_id": str(index), "category_id": category + 1}
            flat = {"segmentation": polygon_of(mask), "area": float(mask.sum()), "bbox": box_of(mask), "iscrowd": 0}
            annotations.append({**ids, **flat})
    return _entry(folder / "images", _write(folder / "via_coco.json", images, annotations, _from(1, classes)))


def datumaro(folder: Path, given: Sequence[Picture], classes: Sequence[str] = CLASSES) -> dict[str, str]:
    """datumaro's COCO: images in images/SPLIT, masks as run lengths without iscrowd 1, no area of boxes."""
    images, annotations = [], []
    for index, picture in enumerate(given, start=1):
        name = f"{index:06d}.png"
        _save(folder / "images/default" / name, picture)
        images.append({"id": index, **_size(picture), "file_name": name, "license": 0, "coco_url": ""})
        for category, mask in picture.objects:
            ids = {"id": len(annotations) + 1, "image_id": index, "category_id": category + 1}
            masks = {"segmentation": runs_of(mask), "area": float(mask.sum()), "bbox": box_of(mask), "iscrowd": 0}
            annotations.append({**ids, **masks, "attributes": {"occluded": False}})
    path = _write(folder / "annotations/instances_default.json", images, annotations, _from(1, classes))
    return _entry(folder / "images/default", path)


def roboflow_masks(folder: Path, given: Sequence[Picture], classes: Sequence[str] = CLASSES) -> dict[str, str]:
    """Roboflow, "Semantic Segmentation Masks": NAME.jpg and NAME_mask.png in one folder, 0 for the background."""
    for index, picture in enumerate(given):
        _save(folder / f"train/shot-{index}.png", picture)
        labels = np.zeros(picture.pixels.shape[:2], np.uint8)
        for category, mask in picture.objects:
            labels[mask] = category + 1
        Image.fromarray(labels).save(folder / f"train/shot-{index}_mask.png")
    (folder / "names.txt").write_text("\n".join(["background=stuff", *classes]))
    train = str(folder / "train")
    return {"FORMAT": "label_maps", "IMAGES": train, "LABELS": train, "NAMES": str(folder / "names.txt")}


Export = Callable[..., dict[str, str]]
INSTANCE_EXPORTS: tuple[Export, ...] = (roboflow, cvat, labelme2coco, via, datumaro)


def _save(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.pixels).save(path)


def _size(picture: Picture) -> dict[str, int]:
    return {"height": picture.pixels.shape[0], "width": picture.pixels.shape[1]}


def _from(first: int, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": index, "name": name, "supercategory": ""} for index, name in enumerate(classes, start=first)]


def _write(path: Path, images: list[Any], annotations: list[Any], categories: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    info = {"info": {"year": "2026"}, "licenses": [{"id": 1, "name": "", "url": ""}]}
    path.write_text(json.dumps({**info, "categories": categories, "images": images, "annotations": annotations}))
    return path


def _entry(images: Path, json_file: Path) -> dict[str, str]:
    return {"FORMAT": "coco_instance", "IMAGES": str(images), "JSON": str(json_file)}
