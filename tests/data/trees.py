"""Tiny datasets in the layouts in which their makers distribute them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from fcclip.files.panoptic import write_panoptic_png

HEIGHT, WIDTH = 6, 8
SIZE = (HEIGHT, WIDTH)


def write_image(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> Path:
    """An RGB image of (height, width) with random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)).save(path)
    return path


def write_labels(path: Path, labels: Any, dtype: Any = np.uint8) -> Path:
    """A label map."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(labels, dtype=dtype)).save(path)
    return path


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def left_and_right(left: int, right: int) -> np.ndarray:
    """A (HEIGHT, WIDTH) map with one value left and another right of the middle."""
    return np.repeat([[left] * (WIDTH // 2) + [right] * (WIDTH // 2)], HEIGHT, axis=0)


def coco(root: Path) -> Path:
    """COCO 2017 with one image a split: a person (id 1) on the left, a rug (id 200) right of it, one void column."""
    for number, split in enumerate(("train", "val"), start=1):
        stem = f"{number:012d}"
        write_image(root / f"coco/{split}2017/{stem}.jpg")
        ids = left_and_right(7, 300)
        ids[:, -1] = 0
        (root / f"coco/panoptic_{split}2017").mkdir(parents=True)
        write_panoptic_png(root / f"coco/panoptic_{split}2017/{stem}.png", ids)
        segments = [_segment(7, 1, ids), _segment(300, 200, ids)]
        image = {"id": number, "file_name": f"{stem}.jpg", "height": HEIGHT, "width": WIDTH}
        annotation = {"image_id": number, "file_name": f"{stem}.png", "segments_info": segments}
        categories = [{"id": 1, "name": "person", "isthing": 1}, {"id": 200, "name": "rug-merged", "isthing": 0}]
        panoptic = {"images": [image], "annotations": [annotation], "categories": categories}
        write_json(root / f"coco/annotations/panoptic_{split}2017.json", panoptic)
        instances = {"images": [image], "annotations": [coco_object(1, number, 90)], "categories": [{"id": 90}]}
        write_json(root / f"coco/annotations/instances_{split}2017.json", instances)
        write_labels(root / f"coco/stuffthingmaps/{split}2017/{stem}.png", [[0, 10, 12], [181, 255, 89]])
    return root


def coco_object(id_: int, image_id: int, category: int) -> dict[str, Any]:
    """An object of COCO's instance format: a 2 x 2 square."""
    polygon = [1, 1, 3, 1, 3, 3, 1, 3]
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": category,
        "iscrowd": 0,
        "area": 4,
        "bbox": [1, 1, 2, 2],
        "segmentation": [polygon],
    }


def lvis(root: Path) -> Path:
    """LVIS v1's validation split: one image of COCO's training set."""
    write_image(root / "coco/train2017/000000000003.jpg")
    image = {
        "id": 3,
        "coco_url": "http://images.cocodataset.org/train2017/000000000003.jpg",
        "height": HEIGHT,
        "width": WIDTH,
        "not_exhaustive_category_ids": [2],
        "neg_category_ids": [5],
    }
    write_json(root / "lvis/lvis_v1_val.json", {"images": [image], "annotations": [coco_object(1, 3, 1203)]})
    return root


def ade20k(root: Path) -> Path:
    """ADEChallengeData2016: wall (1) left, building (2) right, a bed (8; instance class 1) and a flag (150; 100)."""
    base = root / "ADEChallengeData2016"
    for split, folder in (("train", "training"), ("val", "validation")):
        stem = f"ADE_{split}_00000001"
        write_image(base / f"images/{folder}/{stem}.jpg")
        labels = left_and_right(1, 2)
        labels[0] = 8
        labels[1, 0] = 0
        write_labels(base / f"annotations/{folder}/{stem}.png", labels)
        instances = np.zeros((*SIZE, 3), dtype=np.uint8)
        instances[:2, :, 0], instances[:2, :, 1] = 1, 1  # the bed also covers a row of wall and building
        instances[5, 6:, 0], instances[5, 6:, 1] = 100, 2
        write_labels(base / f"annotations_instance/{folder}/{stem}.png", instances)
    return root


def ade20k_full(root: Path, size: tuple[int, int] = (520, 700)) -> Path:
    """ADE20K_2021_17_01: wall (2978) left, an id without a class right; one image a split, with object masks."""
    base = root / "ADE20K_2021_17_01/images/ADE"
    for split, folder in (("train", "training"), ("val", "validation")):
        stem = f"ADE_{split}_00000001"
        place = base / folder / "urban/street"
        write_image(place / f"{stem}.jpg", size)
        colors = np.zeros((*size, 3), dtype=np.uint8)
        colors[:, : size[1] // 2, :2] = (2978 // 256 * 10, 2978 % 256)
        colors[:, size[1] // 2 :, :2] = (255, 255)
        write_labels(place / f"{stem}_seg.png", colors)
        write_image(place / f"{stem}_parts_1.png", size)
        write_image(place / stem / "instance_000_ADE.jpg")
        write_labels(place / stem / "instance_000_ADE_seg.png", colors)
    (root / "ADE20K_2021_17_01/index_ade20k.pkl").write_bytes(b"never read")
    return root


def cityscapes(root: Path) -> Path:
    """Cityscapes: road (7) left; right, from the top: a car (26000), a group of cars (26), an unlabelled row (0)."""
    for split, city in (("train", "aachen"), ("val", "ulm")):
        frame = f"{city}_000000_000019"
        write_image(root / f"cityscapes/leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png")
        instances = left_and_right(7, 26)
        instances[:2, WIDTH // 2 :] = 26000
        instances[-1, WIDTH // 2 :] = 0
        place = root / f"cityscapes/gtFine/{split}/{city}"
        write_labels(place / f"{frame}_gtFine_instanceIds.png", instances, np.uint16)
        write_labels(place / f"{frame}_gtFine_labelIds.png", np.where(instances >= 1000, instances // 1000, instances))
    return root


def mapillary(root: Path) -> Path:
    """Mapillary Vistas: a bird (1) left, ego vehicle (65) right."""
    for folder in ("training", "validation"):
        base = root / f"mapillary_vistas/{folder}"
        write_image(base / "images/scene.jpg")
        write_labels(base / "labels/scene.png", left_and_right(0, 64))
        ids = left_and_right(1, 2)
        (base / "panoptic").mkdir(parents=True)
        write_panoptic_png(base / "panoptic/scene.png", ids)
        annotation = {
            "image_id": "scene",
            "file_name": "scene.png",
            "segments_info": [_segment(1, 1, ids), _segment(2, 65, ids)],
        }
        write_json(base / "panoptic/panoptic_2018.json", {"annotations": [annotation], "images": [], "categories": []})
    return root


def pascal_voc(root: Path) -> Path:
    """VOCdevkit/VOC2012: palette label maps with background, a tvmonitor (20) and a border (255)."""
    base = root / "VOCdevkit/VOC2012"
    for split, stem in (("train", "2007_000032"), ("val", "2007_000033")):
        (base / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (base / f"ImageSets/Segmentation/{split}.txt").write_text(f"{stem}\n")
        write_image(base / f"JPEGImages/{stem}.jpg")
        labels = left_and_right(0, 20)
        labels[:, WIDTH // 2] = 255
        image = Image.fromarray(labels.astype(np.uint8)).convert("L")
        image.putpalette([channel for index in range(256) for channel in (index, 255 - index, index)])
        (base / "SegmentationClass").mkdir(exist_ok=True)
        image.save(base / f"SegmentationClass/{stem}.png")
    return root


def pascal_context(root: Path) -> Path:
    """VOCdevkit/VOC2010: LabelMaps with aeroplane (2) left, wool (459, not among the 59) right, a row of nothing."""
    base = root / "VOCdevkit/VOC2010"
    for split, stem in (("train", "2008_000002"), ("val", "2008_000003")):
        (base / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
        (base / f"ImageSets/Main/{split}.txt").write_text(f"{stem}\n")
        write_image(base / f"JPEGImages/{stem}.jpg")
        labels = left_and_right(2, 459)
        labels[0] = 0
        (base / "trainval").mkdir(exist_ok=True)
        savemat(base / f"trainval/{stem}.mat", {"LabelMap": labels.astype(np.uint16)})
    return root


def _segment(id_: int, category: int, ids: np.ndarray) -> dict[str, Any]:
    return {
        "id": id_,
        "category_id": category,
        "iscrowd": 0,
        "area": int((ids == id_).sum()),
        "bbox": [0, 0, 4, HEIGHT],
    }
