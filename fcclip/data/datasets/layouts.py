"""How the files of a dataset are laid out on disk, and how they become Detectron2's records.

A layout holds paths relative to the datasets' root (absolute paths stay as they are).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detectron2.data.catalog import Metadata
from detectron2.structures import BoxMode

from fcclip.data.validation.findings import FILES, IDS, Findings
from fcclip.data.validation.instances import CROWD, compare_instances, read_instances
from fcclip.files.panoptic import PanopticJson, read_panoptic_json

Record = dict[str, Any]
MASK_ENDING = "_mask"  # Roboflow puts a.jpg and a_mask.png into one folder


class Layout(ABC):
    """Where a dataset lies and how it is read."""

    @abstractmethod
    def metadata_paths(self) -> dict[str, str]:
        """Metadata attribute -> path."""

    @abstractmethod
    def required(self) -> list[str]:
        """Files and folders without which the dataset cannot be loaded."""

    @abstractmethod
    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        """Read the records, in which every class id is contiguous, and add to `findings` what is wrong or was mended.

        Raises:
            FileNotFoundError, ValueError: nothing can be read.
        """


@dataclass(frozen=True)
class SemanticLayout(Layout):
    """A folder of images and a folder of label maps with the same file stems.

    Both may lie in one folder; then the label map of STEM is called STEM_mask.

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

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        images = _files_by_stem(root / self.images, self.image_suffixes)
        labels = _files_by_stem(root / self.labels, self.label_suffixes)
        if (root / self.images).resolve() == (root / self.labels).resolve():
            images, labels = _split_masks(images, labels, root / self.images)
        stems = sorted(images.keys() & labels.keys())
        if not stems:
            raise ValueError(
                f'dataset "{metadata.name}": no image in {root / self.images} ({", ".join(self.image_suffixes)}) has a '
                f"label map of the same name in {root / self.labels} ({', '.join(self.label_suffixes)})"
            )
        for stem in sorted(images.keys() - labels.keys()):
            findings.problem(
                FILES, images[stem], f"has no label map in {root / self.labels}; add it, or move the image"
            )
        for stem in sorted(labels.keys() - images.keys()):
            findings.problem(
                FILES, labels[stem], f"has no image in {root / self.images}; add it, or move the label map"
            )
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

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        path = root / self.panoptic_json
        content = read_panoptic_json(path)
        contiguous = segment_converter(metadata, findings)
        if self.image_suffix is None:
            for id_ in content.images.keys() - content.annotations.keys():
                findings.problem(IDS, path, f'has no annotation of image {id_!r}, which "images" lists')
            if self.instances_json and (root / self.instances_json).is_file():
                compare_instances(content, read_instances(root / self.instances_json), findings)
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
        name = image.get("file_name") if image else None
        if not isinstance(name, str) or not name:
            raise ValueError(f'{root / self.panoptic_json}: "images" gives no file_name for image {image_id!r}')
        return name


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

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        images = {
            path.name.removesuffix("_leftImg8bit.png"): path
            for path in sorted((root / self.images).glob("*/*_leftImg8bit.png"))
        }
        contiguous = segment_converter(metadata, findings, mark_things=False)
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

    def load(self, root: Path, metadata: Metadata, findings: Findings) -> list[Record]:
        file = read_instances(root / self.json_file)
        findings.merge(file.findings)
        if not findings.problems and not findings.loaded:
            what = "no object" if not file.annotations else "crowd regions (iscrowd 1) only, which training leaves out"
            findings.problem(IDS, file.path, f"has {what}; annotate objects with iscrowd 0")
        for id_, image in file.images.items():
            if "file_name" not in image and "coco_url" not in image:
                findings.problem(IDS, file.path, f"gives image {id_!r} no file_name")
        objects: dict[int | str, list[Record]] = {id_: [] for id_ in file.images}
        contiguous = metadata.thing_dataset_id_to_contiguous_id
        for annotation in file.annotations:
            category = _contiguous_id(annotation["category_id"], contiguous, metadata.name, str(file.path))
            kept = {key: annotation[key] for key in ("iscrowd", "bbox", "segmentation")}
            objects[annotation["image_id"]].append({**kept, "bbox_mode": BoxMode.XYWH_ABS, "category_id": category})
        folder = root / self.images
        return [
            self._record(file.images[id_], folder, objects[id_])
            for id_ in sorted(file.images, key=lambda id_: (isinstance(id_, str), id_))
        ]

    def _record(self, image: Record, folder: Path, objects: list[Record]) -> Record:
        return {
            "file_name": str(folder / str(image.get("file_name"))),
            "height": image["height"],
            "width": image["width"],
            "image_id": image["id"],
            "annotations": objects,
        }


@dataclass(frozen=True)
class LvisLayout(InstanceLayout):
    """LVIS's variant of COCO's instance format: images lie in `train2017` or `val2017`, as their URLs tell."""

    def _record(self, image: Record, folder: Path, objects: list[Record]) -> Record:
        return {
            **super()._record(image, folder, objects),
            "file_name": str(folder / Path(*image["coco_url"].split("/")[-2:])),
            "not_exhaustive_category_ids": image.get("not_exhaustive_category_ids", []),
            "neg_category_ids": image.get("neg_category_ids", []),
        }


def _files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes:
            if path.stem in files:
                raise ValueError(f"{folder} has {files[path.stem].name} and {path.name}; a name may occur once")
            files[path.stem] = path
    return files


def _split_masks(
    images: Mapping[str, Path], labels: Mapping[str, Path], folder: Path
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and label maps of one folder, by the stem of the image."""
    masks = {stem.removesuffix(MASK_ENDING): path for stem, path in labels.items() if stem.endswith(MASK_ENDING)}
    if not masks:
        raise ValueError(
            f"{folder} is named as the folder of images and of label maps, but no file in it ends in {MASK_ENDING}; "
            f"put the label maps into a folder of their own, or call the label map of a.jpg a{MASK_ENDING}.png"
        )
    return {stem: path for stem, path in images.items() if not stem.endswith(MASK_ENDING)}, masks


def segment_converter(
    metadata: Metadata, findings: Findings, mark_things: bool = True
) -> Callable[[Mapping[str, Any]], Record]:
    """A function that gives a segment's record its contiguous class id and, if asked, says whether it is a thing.

    It counts the segments in `findings`.
    """
    things = metadata.thing_dataset_id_to_contiguous_id
    either = {**metadata.stuff_dataset_id_to_contiguous_id, **things}

    def convert(segment: Mapping[str, Any]) -> Record:
        category = segment["category_id"]
        findings.listed[category] += 1
        if segment.get("iscrowd", 0):
            findings.leave_out(category, CROWD)
        else:
            findings.loaded[category] += 1
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
