"""Look at one record of a dataset and tell everything that is wrong with its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcclip.files.panoptic import VOID, rgb_to_id

FILES, SIZES, IDS, PIXELS = "files", "sizes", "ids", "pixels"
CHECKS = (FILES, SIZES, IDS, PIXELS)
_LISTED = 5  # ids that one message names


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        check: which check found it.
        file: the file that it is about.
        message: what is wrong, as a clause.
    """

    check: str
    file: str
    message: str


@dataclass(frozen=True)
class Expectations:
    """What holds for every record of a dataset.

    Attributes:
        classes: the number of classes; ids are 0..classes - 1.
        ignore_label: value of ignored pixels in label maps.
        full: decode every file and look at its pixels; else only at sizes.
    """

    classes: int
    ignore_label: int | None
    full: bool


@dataclass(frozen=True)
class _Picture:
    """An image file: its (width, height), its mode and, if asked for, its pixels."""

    size: tuple[int, int]
    mode: str
    pixels: np.ndarray | None


def inspect_record(record: Mapping[str, Any], expectations: Expectations) -> list[Problem]:
    """Check the files of a record of Detectron2's format against each other and against the record."""
    problems: list[Problem] = []
    image = _open(record["file_name"], problems, expectations.full)
    size = image.size if image else None
    if size and "width" in record and size != (record["width"], record["height"]):
        message = f"is {_pixels(size)}, but the annotations say {_pixels((record['width'], record['height']))}"
        problems.append(Problem(SIZES, record["file_name"], message))
    if "sem_seg_file_name" in record:
        problems += _inspect_label_map(record["sem_seg_file_name"], size, expectations)
    if "pan_seg_file_name" in record:
        problems += _inspect_panoptic(record, size, expectations)
    problems += _inspect_annotations(record, size, expectations)
    return problems


def _open(path: str, problems: list[Problem], decode: bool) -> _Picture | None:
    """Open an image file; if that fails, add to `problems` and return None."""
    if not Path(path).is_file():
        problems.append(Problem(FILES, path, "does not exist"))
        return None
    try:
        with Image.open(path) as image:
            return _Picture(image.size, image.mode, np.asarray(image) if decode else None)
    except Exception as error:  # Pillow's decoders raise a dozen unrelated types for damaged files
        problems.append(Problem(FILES, path, f"cannot be read: {error}"))
        return None


def _inspect_label_map(path: str, size: tuple[int, int] | None, expectations: Expectations) -> list[Problem]:
    problems: list[Problem] = []
    picture = _open(path, problems, expectations.full)
    if picture is None:
        return problems
    problems += _compare_sizes(path, picture.size, size)
    if picture.mode in ("RGB", "RGBA"):
        problems.append(Problem(PIXELS, path, f"is a {picture.mode} image; a label map has one channel"))
    elif picture.pixels is not None:
        values = np.unique(picture.pixels)
        wrong = values[(values >= expectations.classes) & (values != expectations.ignore_label)].tolist()
        if wrong:
            message = f"has labels {_some(wrong)}; there are {expectations.classes} classes"
            problems.append(Problem(PIXELS, path, message))
    return problems


def _inspect_panoptic(
    record: Mapping[str, Any], size: tuple[int, int] | None, expectations: Expectations
) -> list[Problem]:
    problems: list[Problem] = []
    path, segments = record["pan_seg_file_name"], record["segments_info"]
    ids = [segment["id"] for segment in segments]
    if len(set(ids)) < len(ids):
        problems.append(Problem(IDS, path, "has two segments with the same id"))
    problems += _inspect_classes(path, segments, expectations)
    picture = _open(path, problems, expectations.full)
    if picture is None:
        return problems
    problems += _compare_sizes(path, picture.size, size)
    if picture.mode != "RGB":
        problems.append(Problem(PIXELS, path, f"is a {picture.mode} image; a panoptic PNG is RGB"))
    elif picture.pixels is not None:
        present = set(np.unique(rgb_to_id(picture.pixels)).tolist()) - {VOID}
        for wrong, what in ((present - set(ids), "pixels of segments"), (set(ids) - present, "no pixel of segments")):
            if wrong:
                problems.append(Problem(PIXELS, path, f"has {what} {_some(wrong)}, unlike its segments_info"))
    return problems


def _inspect_annotations(
    record: Mapping[str, Any], size: tuple[int, int] | None, expectations: Expectations
) -> Iterator[Problem]:
    annotations = record.get("annotations", ())
    yield from _inspect_classes(record["file_name"], annotations, expectations)
    for annotation in annotations:
        mask = annotation.get("segmentation")
        if size and isinstance(mask, Mapping) and tuple(mask["size"]) != size[::-1]:
            message = f"is {_pixels(size)}, but a mask of it is {_pixels(tuple(mask['size'])[::-1])}"
            yield Problem(SIZES, record["file_name"], message)


def _inspect_classes(path: str, items: Sequence[Mapping[str, Any]], expectations: Expectations) -> list[Problem]:
    wrong = {item["category_id"] for item in items} - set(range(expectations.classes))
    return [Problem(IDS, path, f"has classes {_some(wrong)} of 0..{expectations.classes - 1}")] if wrong else []


def _compare_sizes(path: str, size: tuple[int, int], image_size: tuple[int, int] | None) -> list[Problem]:
    if image_size is None or size == image_size:
        return []
    return [Problem(SIZES, path, f"is {_pixels(size)}, but its image {_pixels(image_size)}")]


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"


def _some(ids: Sequence[int] | set[int]) -> str:
    listed = ", ".join(str(id_) for id_ in sorted(ids)[:_LISTED])
    return listed if len(ids) <= _LISTED else f"{listed}, ... ({len(ids)} in all)"
