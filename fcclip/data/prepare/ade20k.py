"""ADE20K's 150-class benchmark: label maps, COCO-style instances, and the panoptic format made of both.

The instance challenge numbers its 100 classes in the order in which the things stand among the 150 scene-parsing
classes, so that the category table holds the whole correspondence.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as mask_api

from fcclip.data.datasets.tables import category_table
from fcclip.data.prepare.jobs import Options, Output, list_files, run_jobs, stamp_of_json
from fcclip.data.prepare.label_maps import convert_folder, lookup_table, read_pixels
from fcclip.data.prepare.panoptic import PanopticJob, write_panoptic_dataset
from fcclip.files.atomic import write_json
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import measure_segments
from fcclip.files.stamps import STAMP, stamp_of

FOLDERS = {"train": "training", "val": "validation"}
CLASSES = 150
IGNORE = 255
# An odd step visits every 24-bit id; this one also changes all three channels, so that neighbours look different.
_ID_STEP = 0x1D3B47

Record = dict[str, Any]


def benchmark_folder(root: Path) -> Path:
    """The folder that the archive of the benchmark unpacks to."""
    return root / "ADEChallengeData2016"


def instance_categories() -> dict[int, int]:
    """Id of a class in the instance challenge (1..100) -> its contiguous id among the 150 classes."""
    table = category_table("ade20k_150")
    things = [id_ for id_, thing in zip(table.ids, table.is_thing, strict=True) if thing]
    return dict(enumerate(things, start=1))


def prepare_semantic(options: Options) -> list[Output]:
    """annotations/*.png (0 = nothing, 1..150) -> annotations_detectron2/*.png (0..149, 255 = nothing)."""
    base = benchmark_folder(options.root)
    table = lookup_table({label: label - 1 for label in range(1, CLASSES + 1)}, IGNORE)
    return [
        convert_folder(
            base / "annotations" / folder, base / "annotations_detectron2" / folder, table, options, "ADE20K label maps"
        )
        for folder in FOLDERS.values()
    ]


def prepare_instances(options: Options) -> list[Output]:
    """annotations_instance/*.png -> ade20k_instance_{train,val}.json in COCO's instance format."""
    return [_prepare_instances_of(options, split, folder) for split, folder in FOLDERS.items()]


def _prepare_instances_of(options: Options, split: str, folder: str) -> Output:
    base = benchmark_folder(options.root)
    target = base / f"ade20k_instance_{split}.json"
    maps = [path for path, _ in _instance_maps(base, folder)]
    stamp = stamp_of(maps)
    if stamp_of_json(target) == stamp:
        return Output(target, written=0, kept=1)
    found = run_jobs(_coco_instances, maps, options.workers, target.name, unit="image")
    annotations = [annotation for _, objects in found for annotation in objects]
    table, things = category_table("ade20k_150"), instance_categories().values()
    write_json(
        target,
        {
            "info": {STAMP: stamp},
            "images": [image for image, _ in found],
            "categories": [{"id": id_, "name": table.names[id_]} for id_ in things],
            "annotations": [{"id": number, **fields} for number, fields in enumerate(annotations, start=1)],
        },
    )
    return Output(target, written=1, kept=0)


def _instance_maps(base: Path, folder: str) -> list[tuple[Path, Path]]:
    """(instance map, image) of a split."""
    images = {path.stem: path for path in list_files(base / "images" / folder, ".jpg", "ADE20K images")}
    maps = list_files(base / "annotations_instance" / folder, ".png", "ADE20K instance maps")
    alone = [path for path in maps if path.stem not in images]
    if alone:
        raise FileNotFoundError(
            f"{len(alone)} instance maps, {alone[0]} the first, have no image in {base / 'images' / folder}"
        )
    return [(path, images[path.stem]) for path in maps]


def read_instances(path: Path) -> list[tuple[int, np.ndarray]]:
    """Read an instance map: red is the class (1..100), green the number of the object, 0 = nothing.

    Returns:
        (contiguous id, (H, W) bool mask) of every object, by ascending number.

    Raises:
        ValueError: the file is no RGB image, an object has two classes, or a class is unknown.
    """
    pixels = read_pixels(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"{path} has shape {pixels.shape}; an ADE20K instance map is RGB")
    classes, numbers, _ = np.moveaxis(pixels, -1, 0)
    known = instance_categories()
    instances = []
    for number in np.unique(numbers[numbers > 0]):
        mask = numbers == number
        labels = np.unique(classes[mask]).tolist()
        if len(labels) != 1 or labels[0] not in known:
            raise ValueError(f"{path}: object {number} has class {labels}; expected one of 1..{len(known)}")
        instances.append((known[labels[0]], mask))
    return instances


def _coco_instances(path: Path) -> tuple[Record, list[Record]]:
    """Records of one image and of its objects (without an id)."""
    instances = read_instances(path)
    with Image.open(path) as image:
        width, height = image.size
    image_record = {"id": path.stem, "file_name": f"{path.stem}.jpg", "width": width, "height": height}
    objects = [
        {"image_id": path.stem, "category_id": category, "iscrowd": 0, **_coco_mask(mask)}
        for category, mask in instances
    ]
    return image_record, objects


def _coco_mask(mask: np.ndarray) -> Record:
    (segment,) = measure_segments(mask.astype(np.int32), [{"id": 1}])
    encoded = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "bbox": segment["bbox"],
        "area": segment["area"],
        "segmentation": {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")},
    }


def prepare_panoptic(options: Options, visible_areas: bool = False) -> list[Output]:
    """annotations and annotations_instance -> ade20k_panoptic_{train,val}/ and its JSON.

    Stuff comes from the label maps, things from the instance maps and over the stuff. As in the published files, areas
    and boxes of stuff are those from before things cover it: the areas of the ground truth enter PQ, and the published
    ADE20K PQ was measured with them.

    Args:
        options: where, and with how many processes.
        visible_areas: record of stuff what is visible in the end, and leave out what is wholly covered.
    """
    base, outputs = benchmark_folder(options.root), []
    info = {"areas of stuff": "what is visible" if visible_areas else "before things cover it"}
    for split, folder in FOLDERS.items():
        target = base / f"ade20k_panoptic_{split}"
        jobs = [
            PanopticJob((base / "annotations" / folder / path.name, path), target / path.name, path.stem, image.name)
            for path, image in _instance_maps(base, folder)
        ]
        make = partial(_make_panoptic, visible_areas=visible_areas)
        outputs += write_panoptic_dataset(target, jobs, make, "ade20k_150", options.workers, info)
    return outputs


def _make_panoptic(sources: tuple[Path, ...], visible_areas: bool) -> tuple[np.ndarray, list[Record]]:
    labels, instances = sources
    return merge_panoptic(read_label_map(labels), read_instances(instances), labels, visible_areas)


def merge_panoptic(
    labels: np.ndarray, instances: list[tuple[int, np.ndarray]], source: Path, visible_areas: bool = False
) -> tuple[np.ndarray, list[Record]]:
    """Put things over stuff.

    Args:
        labels: (H, W) label map, 0 = nothing, 1..150.
        instances: (contiguous id, (H, W) mask) of things.
        source: file of the labels, named in errors.
        visible_areas: see `prepare_panoptic`.

    Returns:
        (H, W) int32 segment ids and the records of the segments; ids depend on nothing but the classes.
    """
    if labels.max(initial=0) > CLASSES:
        raise ValueError(f"{source} has label {labels.max()}; ADE20K's labels lie in 0..{CLASSES}")
    table, ids = category_table("ade20k_150"), np.zeros(labels.shape, dtype=np.int32)
    segments: list[Record] = []
    for category in (np.unique(labels[labels > 0]).astype(int) - 1).tolist():
        if not table.is_thing[category]:
            segments.append({"id": _new_id(category, segments), "category_id": category})
            ids[labels == category + 1] = segments[-1]["id"]
    stuff = measure_segments(ids, segments)
    for category, mask in instances:
        if mask.shape != ids.shape:
            raise ValueError(f"{source} has {ids.shape} pixels (height, width), its instance map {mask.shape}")
        segments.append({"id": _new_id(category, segments), "category_id": category})
        ids[mask] = segments[-1]["id"]
    if not visible_areas:
        return ids, stuff + measure_segments(ids, segments[len(stuff) :])
    visible = set(np.unique(ids).tolist())
    return ids, measure_segments(ids, [segment for segment in segments if segment["id"] in visible])


def _new_id(category: int, segments: list[Record]) -> int:
    """The colour of the class, moved on until no other segment of the image has it."""
    red, green, blue = category_table("ade20k_150").colors[category]
    taken = {segment["id"] for segment in segments} | {0}
    candidate = red + (green << 8) + (blue << 16)
    while candidate in taken:
        candidate = (candidate + _ID_STEP) % (1 << 24)
    return candidate
