"""Panoptic ground truth (published and synthetic) and the ways in which predictions go wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcclip.files.panoptic import read_panoptic_json, read_panoptic_png, write_panoptic_json, write_panoptic_png
from tests.shared import SHARED

COCO_SAMPLE = SHARED / "data" / "coco_panoptic_sample"


@dataclass
class Picture:
    """One image's segments: (H, W) ids and their records."""

    image_id: int
    ids: np.ndarray
    segments: list[dict[str, Any]]

    def kept(self) -> Picture:
        """Without the records of segments that have no pixel, and without pixels that have no record."""
        present = set(np.unique(self.ids).tolist())
        segments = [segment for segment in self.segments if segment["id"] in present]
        ids = np.where(np.isin(self.ids, [segment["id"] for segment in segments]), self.ids, 0)
        return Picture(self.image_id, ids.astype(np.int32), segments)


@dataclass
class PanopticSet:
    """Pictures and the categories they use; `write` puts them on disk in the COCO panoptic format."""

    categories: list[dict[str, Any]]
    pictures: list[Picture]

    def write(self, folder: Path) -> Path:
        """Write `folder`.json and PNGs into `folder`; returns the JSON's path."""
        annotations = []
        for picture in self.pictures:
            write_panoptic_png(folder / f"{picture.image_id}.png", picture.ids)
            annotations.append(
                {"image_id": picture.image_id, "file_name": f"{picture.image_id}.png"}
                | {"segments_info": picture.segments}
            )
        images = [
            {"id": p.image_id, "file_name": f"{p.image_id}.jpg", "height": p.ids.shape[0], "width": p.ids.shape[1]}
            for p in self.pictures
        ]
        path = folder.with_suffix(".json")
        write_panoptic_json(path, annotations, self.categories, images)
        return path

    def perturbed(self, change: Callable[[Picture, np.random.Generator], Picture], seed: int = 0) -> PanopticSet:
        generator = np.random.default_rng(seed)
        return PanopticSet(self.categories, [change(picture, generator).kept() for picture in self.pictures])


def published() -> PanopticSet:
    """The COCO sample beside the checkout."""
    content = read_panoptic_json(COCO_SAMPLE / "panoptic.json")
    pictures = [
        Picture(image_id, read_panoptic_png(COCO_SAMPLE / "panoptic" / record["file_name"]), record["segments_info"])
        for image_id, record in content.annotations.items()
    ]
    return PanopticSet(list(content.categories.values()), pictures)


def synthetic(seed: int, images: int = 3, size: tuple[int, int] = (40, 60), classes: int = 6) -> PanopticSet:
    """Random rectangles with void, crowd regions, areas that disagree with the map, and classes that never occur."""
    generator = np.random.default_rng(seed)
    categories = [{"id": 10 + 3 * k, "name": f"class{k}", "isthing": k % 2} for k in range(classes)]
    pictures = []
    for image_id in range(1, images + 1):
        ids = np.zeros(size, np.int32)
        segments = []
        for number in range(12):
            top, left = generator.integers(0, size[0] - 4), generator.integers(0, size[1] - 4)
            height, width = generator.integers(3, 20, 2)
            id_ = int(generator.integers(1, 2**24 - 1))
            ids[top : top + height, left : left + width] = id_
            category = categories[generator.integers(0, classes - 2)]["id"]
            segments.append({"id": id_, "category_id": category, "iscrowd": int(number % 5 == 0)})
        picture = Picture(image_id, ids, segments).kept()
        for segment in picture.segments:
            segment["area"] = int((picture.ids == segment["id"]).sum()) + int(generator.integers(0, 3))
        pictures.append(picture)
    return PanopticSet(categories, pictures)


def unchanged(picture: Picture, generator: np.random.Generator) -> Picture:
    return picture


def shifted(picture: Picture, generator: np.random.Generator) -> Picture:
    return Picture(picture.image_id, np.roll(picture.ids, (2, -3), (0, 1)), picture.segments)


def merged(picture: Picture, generator: np.random.Generator) -> Picture:
    """Every second segment becomes part of the one before it."""
    ids = picture.ids.copy()
    for first, second in zip(picture.segments[::2], picture.segments[1::2], strict=False):
        ids[ids == second["id"]] = first["id"]
    return Picture(picture.image_id, ids, picture.segments)


def relabelled(picture: Picture, generator: np.random.Generator) -> Picture:
    """About half of the segments take the class of another segment."""
    categories = [segment["category_id"] for segment in picture.segments]
    segments = [
        {**segment, "category_id": int(generator.choice(categories)) if generator.random() < 0.5 else category}
        for segment, category in zip(picture.segments, categories, strict=True)
    ]
    return Picture(picture.image_id, picture.ids, segments)


def dropped(picture: Picture, generator: np.random.Generator) -> Picture:
    """About half of the segments are not predicted."""
    return Picture(picture.image_id, picture.ids, [s for s in picture.segments if generator.random() < 0.5])


def everything(picture: Picture, generator: np.random.Generator) -> Picture:
    for change in (shifted, merged, relabelled, dropped):
        picture = change(picture, generator).kept()
    return picture


CHANGES = (unchanged, shifted, merged, relabelled, dropped, everything)
