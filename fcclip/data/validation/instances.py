"""Read instance annotations in COCO's format, as training and evaluation both use them.

What pycocotools would refuse after the last image is refused or mended here: annotations are numbered from 1 (COCOeval
reads the id 0 as "not matched"), missing areas, boxes and crowd flags are filled in, and polygons without an area are
left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcclip.data.validation.findings import IDS, SIZES, Findings
from fcclip.data.validation.masks import MaskError, area_of, box_of, is_area, is_box, mend_segmentation
from fcclip.files.coco_json import index_by_id, is_id, is_integer, read_categories, read_json_object, read_list
from fcclip.files.panoptic import PanopticJson

Record = dict[str, Any]
CROWD = "crowd region (iscrowd 1)"
NO_AREA = "no polygon with three points"
MAX_SIDE = 100_000  # pixels of an image; far more than any has that can be read


@dataclass(frozen=True)
class InstanceFile:
    """A file of instance annotations.

    Attributes:
        path: the file.
        content: its other fields ("info", "licenses", ...).
        categories: category id -> its record, ascending; empty if the file lists none.
        images: image id -> its record, with `height` and `width` in pixels.
        annotations: objects and crowd regions, each with `id` (1, 2, ...), `image_id`, `category_id`, `iscrowd`,
            `area`, `bbox` and a `segmentation` that is not empty.
        findings: what was mended, left out or is wrong.
    """

    path: Path
    content: Record
    categories: dict[int, Record]
    images: dict[int | str, Record]
    annotations: list[Record]
    findings: Findings

    def as_coco(self) -> Record:
        """The content of a file that pycocotools reads without complaint."""
        lists = {"images": self.images.values(), "categories": self.categories.values()}
        return {**self.content, **{key: list(values) for key, values in lists.items()}, "annotations": self.annotations}


def read_instances(path: str | Path) -> InstanceFile:
    """Read a file of instance annotations; what is wrong with single entries is in the findings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or not a file of instance annotations.
    """
    path = Path(path)
    content = read_json_object(path, "file of instance annotations")
    categories = read_categories(content, path)
    images = index_by_id(read_list(content, "images", path), "images", path)
    reader = _Reader(path, categories, images)
    reader.check_images()
    annotations = [mended for entry in read_list(content, "annotations", path) if (mended := reader.mend(entry))]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    reader.note_crowded_classes()
    return InstanceFile(path, content, reader.drop_placeholders(), images, annotations, reader.findings)


def compare_instances(panoptic: PanopticJson, instances: InstanceFile, findings: Findings) -> None:
    """Compare the things of a panoptic JSON with a file of the same things as instances: ids, names and images."""
    findings.problems += instances.findings.problems
    for reason, note in instances.findings.notes.items():
        findings.note(reason, note.example, note.count)
    things = {id_: category for id_, category in panoptic.categories.items() if category.get("isthing")}
    for id_ in sorted(things.keys() ^ instances.categories.keys()):
        here, there = ("has no", "does") if id_ in things else ("has a", "does not")
        message = f"{here} category {id_}, which the panoptic JSON {there} list as a thing"
        findings.problem(IDS, instances.path, message)
    for id_ in things.keys() & instances.categories.keys():
        ours, theirs = things[id_].get("name", ""), instances.categories[id_].get("name", "")
        if ours.strip().casefold() != theirs.strip().casefold():
            message = f'calls category {id_} "{theirs}", but the panoptic JSON calls it "{ours}"'
            findings.problem(IDS, instances.path, message)
    for image_id in panoptic.annotations.keys() - instances.images.keys():
        findings.problem(IDS, instances.path, f"has no image {image_id!r}, which the panoptic JSON annotates")


class _Reader:
    """Judges the entries of one file."""

    def __init__(self, path: Path, categories: Mapping[int, Record], images: Mapping[int | str, Record]) -> None:
        self.path, self.categories, self.images = path, categories, images
        self.findings = Findings()
        self._image_ids = _by_text(images)
        self._category_ids = _by_text(categories)
        self._ids: set[Any] = set()

    def check_images(self) -> None:
        names: dict[str, int | str] = {}
        for id_, image in self.images.items():
            name = image.get("file_name", image.get("coco_url"))
            if name is not None and (not isinstance(name, str) or not name or "\0" in name):
                self.findings.problem(IDS, self.path, f"gives image {id_!r} the file_name {name!r}")
            elif name is not None and names.setdefault(name, id_) != id_:
                self.findings.problem(IDS, self.path, f"gives {name} to two images, {names[name]!r} and {id_!r}")
            for side in ("height", "width"):
                if not is_integer(image.get(side)) or not 1 <= image[side] <= MAX_SIDE:
                    message = f"gives image {name or id_} the {side} {image.get(side)!r}, not a number of pixels"
                    self.findings.problem(SIZES, self.path, message)
                    image[side] = 0

    def mend(self, annotation: Record) -> Record | None:
        """The annotation as it can be used, or None."""
        image_id = self._known(annotation, "image_id", self.images)
        category = self._known(annotation, "category_id", self.categories)
        if image_id is None or category is None:
            return None
        self.findings.listed[category] += 1
        image = self.images[image_id]
        size = (image["height"], image["width"])
        if 0 in size:  # told above
            return None
        try:
            segmentation, mended = mend_segmentation(annotation.get("segmentation"), size)
        except MaskError as error:
            self.findings.problem(IDS, self.path, f"{self._where(annotation)} {error}")
            return None
        for reason in mended:
            self.findings.note(reason, self._where(annotation))
        if not segmentation:
            self.findings.note(f"objects left out because of {NO_AREA}", self._where(annotation))
            self.findings.leave_out(category, NO_AREA)
            return None
        crowd = self._crowd(annotation)
        self._count(category, crowd)
        return {
            **annotation,
            "image_id": image_id,
            "category_id": category,
            "segmentation": segmentation,
            "iscrowd": crowd,
            **self._measures(annotation, segmentation, size),
        }

    def note_crowded_classes(self) -> None:
        """Tell of classes that have crowd regions only: nobody labels a class so on purpose."""
        for category, count in self.findings.listed.items():
            if self.findings.left_out[category, CROWD] == count:
                name = self.categories.get(category, {}).get("name", category)  # type: ignore[call-overload]
                self.findings.note(
                    "classes of which every object is a crowd region (iscrowd 1), which training and AP leave out; "
                    "tools that export brush masks as crowds mean objects: set iscrowd 0",
                    f'"{name}" with {count}',
                )

    def _known(self, annotation: Record, key: str, records: Mapping[Any, Record]) -> Any:
        """The id that an annotation gives under `key`, in the type in which it is listed; None if it is not."""
        stated = annotation.get(key)
        if is_id(stated) and (stated in records or (not records and key == "category_id")):
            return stated
        what = key.removesuffix("_id")
        found = (self._image_ids if what == "image" else self._category_ids).get(str(stated)) if is_id(stated) else None
        if found is None:
            listed = "images" if what == "image" else "categories"
            message = f'{self._where(annotation)} belongs to {what} {stated!r}, which "{listed}" does not list'
            self.findings.problem(IDS, self.path, message)
            return None
        kinds = type(stated).__name__, type(found).__name__
        self.findings.note("{} written as {}, taken as {}".format(key, *kinds), self._where(annotation))
        return found

    def drop_placeholders(self) -> dict[int, Record]:
        """The categories without those that no annotation uses and that only head others."""
        kept = dict(self.categories)
        for id_, category in self.categories.items():
            if not self.findings.listed[id_] and _is_placeholder(category, self.categories):
                self.findings.note("categories that only head others, left out", f'{id_} "{category.get("name")}"')
                del kept[id_]
        return kept

    def _crowd(self, annotation: Record) -> int:
        crowd = annotation.get("iscrowd")
        if crowd is None:
            self.findings.note("annotations without iscrowd, taken as single objects", self._where(annotation))
            return 0
        if crowd not in (0, 1):
            message = f"{self._where(annotation)} has iscrowd {crowd!r}; it should be 0 or 1"
            self.findings.problem(IDS, self.path, message)
            return 0
        return int(crowd)

    def _count(self, category: Any, crowd: int) -> None:
        if crowd:
            self.findings.leave_out(category, CROWD)
        else:
            self.findings.loaded[category] += 1

    def _measures(self, annotation: Record, segmentation: Any, size: tuple[int, int]) -> Record:
        area, box = annotation.get("area"), annotation.get("bbox")
        if not is_area(area, size):
            self.findings.note("annotations without a usable area, counted from the mask", self._where(annotation))
            area = area_of(segmentation, size)
        if not is_box(box, size):
            self.findings.note("annotations without a usable bbox, measured from the mask", self._where(annotation))
            box = box_of(segmentation, size)
        return {"area": area, "bbox": box}

    def _where(self, annotation: Record) -> str:
        stated = annotation.get("image_id")
        image = self.images.get(self._image_ids.get(str(stated), ""), {})
        name = image.get("file_name")
        return f"annotation {annotation.get('id')!r}" + (f" of {name}" if name else "")


def _by_text(records: Mapping[Any, Record]) -> dict[str, Any]:
    """Ids by how they are written, but for those that are written alike."""
    texts = Counter(map(str, records))
    return {str(id_): id_ for id_ in records if texts[str(id_)] == 1}


def _is_placeholder(category: Record, categories: Mapping[int, Record]) -> bool:
    """Whether a category only heads others, as the class 0 that Roboflow adds under the name of the project."""
    return category.get("supercategory") == "none" and any(
        other.get("supercategory") == category.get("name") for other in categories.values()
    )
