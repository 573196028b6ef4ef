"""Write rendered scenes in the layout of COCO panoptic, with label maps and instance annotations beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from fcclip.data.panoshapes.classes import CLASSES, FEW_CLASSES, SEEN_CLASSES, ShapesClass, unseen_ids
from fcclip.data.panoshapes.scene import Scene, render_scene
from fcclip.data.prepare.jobs import run_jobs
from fcclip.drawing.colors import class_color
from fcclip.files.atomic import atomic_path, write_json
from fcclip.files.panoptic import measure_segments, write_panoptic_json, write_panoptic_png

WORLD = "panoshapes-2"  # folder of the rendered files; a change of what is rendered needs a new number
SIDE = 256  # pixels
JPEG_QUALITY = 95

Record = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """A set of scenes.

    Attributes:
        name: "train_seen".
        seed: scene `i` is rendered from the generator of (seed, i).
        scenes: their number.
        classes: what occurs in them; all of it is labelled.
    """

    name: str
    seed: int
    scenes: int
    classes: tuple[ShapesClass, ...]

    def scene(self, index: int, side: int = SIDE) -> Scene:
        """Render one scene, (side, side)."""
        return render_scene(np.random.default_rng([self.seed, index]), side, side, self.classes)


SPLITS = {
    split.name: split
    for split in (
        Split("train_seen", 1001, 2000, SEEN_CLASSES),
        Split("val_seen", 1002, 300, SEEN_CLASSES),
        Split("train_all", 1003, 2000, CLASSES),
        Split("val_all", 1004, 300, CLASSES),
        Split("mini_all", 1004, 50, CLASSES),  # the first scenes of val_all, for quick checks
        Split("train_few", 1005, 2000, FEW_CLASSES),
        Split("val_few", 1006, 300, FEW_CLASSES),
        Split("mini_few", 1006, 50, FEW_CLASSES),  # the first scenes of val_few
    )
}


def dataset_id(entry: ShapesClass) -> int:
    """The id of a class in the annotations: from 1, the same in every split."""
    return CLASSES.index(entry) + 1


def class_metadata(classes: Sequence[ShapesClass]) -> dict[str, Any]:
    """Detectron2 metadata of a panoptic dataset; contiguous ids are positions in `classes`."""
    ids = {dataset_id(entry): index for index, entry in enumerate(classes)}
    things = {id_: index for id_, index in ids.items() if classes[index].is_thing}
    colors = [list(class_color(id_ - 1)) for id_ in ids]
    metadata = {
        "stuff_classes": [entry.name for entry in classes],
        "stuff_colors": colors,
        "thing_classes": [classes[index].name for index in things.values()],
        "thing_colors": [colors[index] for index in things.values()],
        "thing_dataset_id_to_contiguous_id": things,
        "stuff_dataset_id_to_contiguous_id": ids,
    }
    unseen = unseen_ids(classes)
    return {**metadata, "unseen_classes": unseen} if unseen else metadata


def write_split(folder: Path, split: Split, side: int = SIDE, workers: int = 0) -> None:
    """Render a split into `folder`, unless it is there.

    Files: `images/*.jpg`, `panoptic/*.png`, `semantic/*.png` (contiguous ids), `instances.json` and, written
    last, `panoptic.json`. Each is written atomically and depends on its scene alone, so an interrupted run, or
    two at once, does no harm.
    """
    if (folder / "panoptic.json").is_file():
        return
    render = partial(_write_scene, folder=folder, split=split, side=side)
    annotations = run_jobs(render, range(split.scenes), workers, f"rendering PanoShapes {split.name}", unit="scene")
    images = [{"id": i, "file_name": _stem(i) + ".jpg", "height": side, "width": side} for i in range(split.scenes)]
    categories = [panoptic_category(entry) for entry in split.classes]
    objects = [thing for annotation in annotations for thing in annotation.pop("things")]
    numbered = [{**thing, "id": number} for number, thing in enumerate(objects, start=1)]
    things = [category for category in categories if category["isthing"]]
    write_json(folder / "instances.json", {"images": images, "annotations": numbered, "categories": things})
    write_panoptic_json(folder / "panoptic.json", annotations, categories, images)


def _write_scene(index: int, folder: Path, split: Split, side: int) -> Record:
    """Write the files of one scene; its panoptic annotation, with instance annotations under "things"."""
    scene = split.scene(index, side)
    stem = _stem(index)
    with atomic_path(folder / "images" / f"{stem}.jpg") as scratch:
        Image.fromarray(scene.image).save(scratch, quality=JPEG_QUALITY, subsampling=0)
    write_panoptic_png(folder / "panoptic" / f"{stem}.png", scene.ids)
    with atomic_path(folder / "semantic" / f"{stem}.png") as scratch:
        Image.fromarray(label_map(scene)).save(scratch)
    records = [
        {"id": segment.id, "category_id": dataset_id(split.classes[segment.category])} for segment in scene.segments
    ]
    segments = measure_segments(scene.ids, records)
    isthing = [split.classes[segment.category].is_thing for segment in scene.segments]
    things = [_instance(scene.ids, segment, index) for segment, thing in zip(segments, isthing, strict=True) if thing]
    return {"image_id": index, "file_name": f"{stem}.png", "segments_info": segments, "things": things}


def label_map(scene: Scene) -> np.ndarray:
    """(H, W) uint8 map of category indices."""
    table = np.zeros(scene.ids.max() + 1, np.uint8)
    for segment in scene.segments:
        table[segment.id] = segment.category
    return table[scene.ids]


def _instance(ids: np.ndarray, segment: Mapping[str, Any], image_id: int) -> Record:
    encoded = rle.encode(np.asfortranarray(ids == segment["id"]))
    mask = {"size": [int(length) for length in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
    kept = {key: segment[key] for key in ("category_id", "area", "bbox", "iscrowd")}
    return {**kept, "image_id": image_id, "segmentation": mask}


def panoptic_category(entry: ShapesClass) -> Record:
    """The record of a class in a panoptic JSON file."""
    id_ = dataset_id(entry)
    return {"id": id_, "name": entry.name, "isthing": int(entry.is_thing), "color": list(class_color(id_ - 1))}


def _stem(index: int) -> str:
    return f"{index:06d}"
