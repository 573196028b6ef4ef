"""How the files of a dataset are laid out on disk, and how they become Detectron2's records.

A layout holds paths relative to the datasets' root (absolute paths stay as they are).
"""

from __future__ import annotations

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.data.catalog import Metadata
from detectron2.data.datasets.coco import load_coco_json
from detectron2.structures import BoxMode

from fcclip.files.panoptic import PanopticJson, read_panoptic_json

logger = logging.getLogger(__name__)

Record = dict[str, Any]


class Layout(ABC):
    """Where a dataset lies and how it is read."""

    @abstractmethod
    def metadata_paths(self) -> dict[str, str]:
        """Metadata attribute -> path."""

    @abstractmethod
    def required(self) -> list[str]:
        """Files and folders without which the dataset cannot be loaded."""

    @abstractmethod
    def load(self, root: Path, metadata: Metadata) -> list[Record]:
        """Read the records; every class id in them is contiguous."""


@dataclass(frozen=True)
class SemanticLayout(Layout):
    """A folder of images and a folder of label maps with the same file stems.

    Attributes:
        images, labels: the folders.
        label_suffixes, image_suffixes: suffixes of the files that count.
    """

    images: str
    labels: str
    label_suffixes: tuple[str, ...] = (".png",)
    image_suffixes: tuple[str, ...] = (".jpg",)

    def metadata_paths(self) -> dict[str, str]:
        return {"image_root": self.images, "sem_seg_root": self.labels}

    def required(self) -> list[str]:
        return [self.images, self.labels]

    def load(self, root: Path, metadata: Metadata) -> list[Record]:
        images = _files_by_stem(root / self.images, self.image_suffixes)
        labels = _files_by_stem(root / self.labels, self.label_suffixes)
        stems = sorted(images.keys() & labels.keys())
        if not stems:
            raise ValueError(
                f'dataset "{metadata.name}": no image in {root / self.images} ({", ".join(self.image_suffixes)}) has a '
                f"label map of the same name in {root / self.labels} ({', '.join(self.label_suffixes)})"
            )
        unpaired = len(images) + len(labels) - 2 * len(stems)
        if unpaired:
            logger.warning("%s: %d files without a partner are left out", metadata.name, unpaired)
        return [{"file_name": str(images[stem]), "sem_seg_file_name": str(labels[stem])} for stem in stems]


@dataclass(frozen=True)
class PanopticLayout(Layout):
    """The COCO panoptic format, with label maps beside it where they exist.

    Attributes:
        images: folder of images, called as the panoptic PNGs.
        panoptic: folder of panoptic PNGs.
        panoptic_json: their description.
        sem_seg: folder of label maps (PNG), or None.
        instances_json: the same things in COCO's instance format, or None.
        image_suffix: suffix of images; None to take the file names of the JSON's "images".
        integer_ids: make image ids integers, as COCO's evaluation needs them.
    """

    images: str
    panoptic: str
    panoptic_json: str
    sem_seg: str | None = None
    instances_json: str | None = None
    image_suffix: str | None = ".jpg"
    integer_ids: bool = False

    def metadata_paths(self) -> dict[str, str]:
        paths = {"image_root": self.images, "panoptic_root": self.panoptic, "panoptic_json": self.panoptic_json}
        optional = {"sem_seg_root": self.sem_seg, "json_file": self.instances_json}
        return paths | {key: path for key, path in optional.items() if path is not None}

    def required(self) -> list[str]:
        return [self.images, self.panoptic, self.panoptic_json] + ([self.sem_seg] if self.sem_seg else [])

    def load(self, root: Path, metadata: Metadata) -> list[Record]:
        content = read_panoptic_json(root / self.panoptic_json)
        contiguous = _segment_converter(metadata)
        records = []
        for annotation in content.annotations.values():
            image_id, stem = annotation["image_id"], Path(annotation["file_name"]).stem
            name = f"{stem}{self.image_suffix}" if self.image_suffix else self._stated_name(content, image_id, root)
            record = {
                "file_name": str(root / self.images / name),
                "image_id": int(image_id) if self.integer_ids else image_id,
                "pan_seg_file_name": str(root / self.panoptic / annotation["file_name"]),
                "segments_info": [contiguous(segment) for segment in annotation["segments_info"]],
            }
            if self.sem_seg:
                record["sem_seg_file_name"] = str(root / self.sem_seg / f"{stem}.png")
            records.append(record)
        return records

    def _stated_name(self, content: PanopticJson, image_id: int | str, root: Path) -> str:
        image = content.images.get(image_id)
        if image is None or "file_name" not in image:
            raise ValueError(f'{root / self.panoptic_json}: "images" gives no file_name for image {image_id!r}')
        return image["file_name"]


@dataclass(frozen=True)
class CityscapesLayout(Layout):
    """Cityscapes' folders of cities, with panoptic files made by its own tools.

    Attributes:
        images: folder of cities with images `CITY_SEQUENCE_FRAME_leftImg8bit.png`.
        labels: folder of cities with label maps `..._gtFine_labelTrainIds.png`.
        panoptic, panoptic_json: as in `PanopticLayout`.
    """

    images: str
    labels: str
    panoptic: str
    panoptic_json: str

    def metadata_paths(self) -> dict[str, str]:
        return {
            "image_root": self.images,
            "gt_dir": self.labels,
            "panoptic_root": self.panoptic,
            "panoptic_json": self.panoptic_json,
        }

    def required(self) -> list[str]:
        return [self.images, self.labels, self.panoptic, self.panoptic_json]

    def load(self, root: Path, metadata: Metadata) -> list[Record]:
        images = {
            path.name.removesuffix("_leftImg8bit.png"): path
            for path in sorted((root / self.images).glob("*/*_leftImg8bit.png"))
        }
        contiguous = _segment_converter(metadata, mark_things=False)
        records = []
        for annotation in read_panoptic_json(root / self.panoptic_json).annotations.values():
            frame = annotation["image_id"]
            image = images.get(frame)
            if image is None:
                raise FileNotFoundError(
                    f'dataset "{metadata.name}": {root / self.images} has no image of frame {frame}'
                )
            labels = root / self.labels / image.parent.name / f"{frame}_gtFine_labelTrainIds.png"
            records.append(
                {
                    "file_name": str(image),
                    "image_id": "_".join(image.stem.split("_")[:3]),
                    "sem_seg_file_name": str(labels),
                    "pan_seg_file_name": str(root / self.panoptic / annotation["file_name"]),
                    "segments_info": [contiguous(segment) for segment in annotation["segments_info"]],
                }
            )
        return records


@dataclass(frozen=True)
class InstanceLayout(Layout):
    """COCO's instance format: a folder of images and one JSON file."""

    images: str
    json_file: str

    def metadata_paths(self) -> dict[str, str]:
        return {"image_root": self.images, "json_file": self.json_file}

    def required(self) -> list[str]:
        return [self.images, self.json_file]

    def load(self, root: Path, metadata: Metadata) -> list[Record]:
        # Without a dataset name Detectron2 leaves both the ids and the metadata, whose class strings are ours, alone.
        records = load_coco_json(str(root / self.json_file), str(root / self.images))
        contiguous = metadata.thing_dataset_id_to_contiguous_id
        for record in records:
            for annotation in record["annotations"]:
                annotation["category_id"] = _contiguous_id(
                    annotation["category_id"], contiguous, metadata.name, record["file_name"]
                )
        return records


@dataclass(frozen=True)
class LvisLayout(InstanceLayout):
    """LVIS's variant of COCO's instance format: images lie in `train2017` or `val2017`, as their URLs tell."""

    def load(self, root: Path, metadata: Metadata) -> list[Record]:
        path = root / self.json_file
        content = json.loads(path.read_text(encoding="utf-8"))
        objects: dict[int, list[Record]] = {image["id"]: [] for image in content["images"]}
        contiguous = metadata.thing_dataset_id_to_contiguous_id
        for annotation in content["annotations"]:
            category = _contiguous_id(annotation["category_id"], contiguous, metadata.name, str(path))
            objects[annotation["image_id"]].append(
                {
                    "bbox": annotation["bbox"],
                    "bbox_mode": BoxMode.XYWH_ABS,
                    "category_id": category,
                    "segmentation": annotation["segmentation"],
                }
            )
        return [
            {
                "file_name": str(root / self.images / Path(*image["coco_url"].split("/")[-2:])),
                "height": image["height"],
                "width": image["width"],
                "image_id": image["id"],
                "not_exhaustive_category_ids": image.get("not_exhaustive_category_ids", []),
                "neg_category_ids": image.get("neg_category_ids", []),
                "annotations": objects[image["id"]],
            }
            for image in sorted(content["images"], key=lambda image: image["id"])
        ]


def _files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in files:
                raise ValueError(f"{folder} has {files[path.stem].name} and {path.name}; a name may occur once")
            files[path.stem] = path
    return files


def _segment_converter(metadata: Metadata, mark_things: bool = True) -> Callable[[Mapping[str, Any]], Record]:
    """A function that gives a segment's record its contiguous class id and, if asked, says whether it is a thing."""
    things = metadata.thing_dataset_id_to_contiguous_id
    either = {**metadata.stuff_dataset_id_to_contiguous_id, **things}

    def convert(segment: Mapping[str, Any]) -> Record:
        category = segment["category_id"]
        converted = {**segment, "category_id": _contiguous_id(category, either, metadata.name, "its panoptic JSON")}
        return {**converted, "isthing": category in things} if mark_things else converted

    return convert


def _contiguous_id(category_id: int, known: Mapping[int, int], dataset: str, source: str) -> int:
    try:
        return known[category_id]
    except KeyError:
        raise ValueError(
            f'dataset "{dataset}": {source} uses category id {category_id}, which is not among its {len(known)} classes'
        ) from None
