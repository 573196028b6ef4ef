"""Judge the files of records in Detectron2's format: whether they are there, their sizes, labels and segments."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle_codec

from fcclip.data.validation.findings import FILES, IDS, PIXELS, SIZES, Findings
from fcclip.data.validation.masks import encode
from fcclip.files.panoptic import VOID, rgb_to_id

Record = Mapping[str, Any]
FILE_KEYS = ("file_name", "pan_seg_file_name", "sem_seg_file_name")
_LABEL_MODES = ("L", "P", "I", "I;16", "I;16B", "I;16L")  # of Pillow: one integer per pixel
_ORIENTATION = 0x0112  # EXIF tag; 5 to 8 turn the picture by a quarter
_LISTED = 5  # ids that one message names


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
    """An image file: its (width, height) as it is shown, its mode and, if asked for, its pixels."""

    size: tuple[int, int]
    mode: str
    pixels: np.ndarray | None


def inspect_files(records: Iterable[Record]) -> Findings:
    """Look for every file that the records name, by listing each folder once; opens none of them."""
    findings = Findings()

    @cache
    def files_in(folder: str) -> frozenset[str]:
        try:
            return frozenset(entry.name for entry in os.scandir(folder or ".") if entry.is_file())
        except OSError:
            return frozenset()

    for frame in (frame for record in records for frame in frames_of(record)):
        paths = [frame[key] for key in FILE_KEYS if frame.get(key) is not None]
        for path in paths:
            folder, name = os.path.split(path)
            if name not in files_in(folder):
                findings.problem(FILES, path, "is not a file" if Path(path).exists() else "does not exist")
        if len(set(paths)) < len(paths):
            findings.problem(FILES, paths[0], "is named as the image and as its annotation; they are different files")
    return findings


def frames_of(record: Record) -> Sequence[Record]:
    """The records of the frames of a video; the record of an image is its only one."""
    frames: Sequence[Record] = record.get("frames", (record,))
    return frames


def inspect_record(record: Record, expectations: Expectations) -> Findings:
    """Open the files of a record; compare them with each other and with the record."""
    findings = Findings()
    image = _open(record["file_name"], findings, expectations.full)
    size = image.size if image else None
    if size and "width" in record and size != (record["width"], record["height"]):
        message = f"is {_pixels(size)}, but the annotations say {_pixels((record['width'], record['height']))}"
        findings.problem(SIZES, record["file_name"], message)
    if "sem_seg_file_name" in record:
        _inspect_label_map(record["sem_seg_file_name"], size, expectations, findings, "segments_info" not in record)
    if "pan_seg_file_name" in record:
        _inspect_panoptic(record, size, expectations, findings)
    # A wrong size is told once; the masks then belong to the size that the annotations state.
    stated = (record["width"], record["height"]) if "width" in record else size
    _inspect_annotations(record, stated, expectations, findings)
    return findings


def _open(path: str, findings: Findings, decode: bool) -> _Picture | None:
    """Open an image file; if that fails, add a problem and return None."""
    if not Path(path).is_file():
        findings.problem(FILES, path, "is not a file" if Path(path).exists() else "does not exist")
        return None
    try:
        with Image.open(path) as image:
            # An image is turned upright when it is read for training, so that its shown size counts.
            turned = image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
            size = image.size[::-1] if turned else image.size
            return _Picture(size, image.mode, np.asarray(image) if decode else None)
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise a dozen unrelated types for damaged files
        findings.problem(FILES, path, f"cannot be read: {error}")
        return None


def _inspect_label_map(
    path: str, size: tuple[int, int] | None, expectations: Expectations, findings: Findings, count: bool
) -> None:
    """Judge a label map; `count` its classes unless segments are counted already."""
    picture = _open(path, findings, expectations.full)
    if picture is None:
        return
    _compare_sizes(path, picture.size, size, findings)
    if picture.mode not in _LABEL_MODES:
        message = f"is a {picture.mode} image; a label map has one integer per pixel (grey or palette)"
        findings.problem(PIXELS, path, message)
    elif picture.pixels is not None:
        values = np.unique(picture.pixels)
        known = values[(values < expectations.classes) & (values != expectations.ignore_label)].tolist()
        wrong = sorted(set(values.tolist()) - set(known) - {expectations.ignore_label})
        if count:
            findings.listed.update(known)
            findings.loaded.update(known)
        if wrong:
            findings.problem(PIXELS, path, f"has labels {_some(wrong)}; there are {expectations.classes} classes")


def _inspect_panoptic(
    record: Record, size: tuple[int, int] | None, expectations: Expectations, findings: Findings
) -> None:
    path, segments = record["pan_seg_file_name"], record["segments_info"]
    ids = [segment["id"] for segment in segments]
    if len(set(ids)) < len(ids):
        findings.problem(IDS, path, "has two segments with the same id")
    _inspect_classes(path, segments, expectations, findings)
    picture = _open(path, findings, expectations.full)
    if picture is None:
        return
    _compare_sizes(path, picture.size, size, findings)
    if picture.mode not in ("RGB", "RGBA"):
        findings.problem(PIXELS, path, f"is a {picture.mode} image; a panoptic PNG is RGB")
    elif picture.pixels is not None:
        values, counts = np.unique(rgb_to_id(picture.pixels[..., :3]), return_counts=True)
        pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
        present = pixels.keys() - {VOID}
        for wrong, what in ((present - set(ids), "pixels of segments"), (set(ids) - present, "no pixel of segment")):
            if wrong:
                findings.problem(PIXELS, path, f"has {what} {_some(wrong)}, unlike its segments_info")
        _compare_areas(path, segments, pixels, findings)


def _compare_areas(path: str, segments: Sequence[Record], pixels: Mapping[int, int], findings: Findings) -> None:
    """Stated areas enter PQ: one below the visible pixels makes it too high, one above them too low."""
    for segment in segments:
        stated, counted = segment.get("area"), pixels.get(segment["id"])
        if stated is None or counted is None or int(stated) == counted:
            continue
        if stated < counted:
            message = f"has {counted} pixels of segment {segment['id']}, but its annotation states the area {stated}"
            findings.problem(PIXELS, path, message)
        else:
            findings.note(
                "segments with a stated area above their visible pixels; PQ counts the stated one",
                f"segment {segment['id']} of {path}: {stated} of {counted}",
            )


def _inspect_annotations(
    record: Record, size: tuple[int, int] | None, expectations: Expectations, findings: Findings
) -> None:
    annotations = record.get("annotations", ())
    _inspect_classes(record["file_name"], annotations, expectations, findings)
    for position, annotation in enumerate(annotations):
        mask = annotation.get("segmentation")
        if size and isinstance(mask, Mapping) and tuple(mask["size"]) != size[::-1]:
            message = f"should be {_pixels(size)}, but a mask of it is {_pixels(tuple(mask['size'])[::-1])}"
            findings.problem(SIZES, record["file_name"], message)
        elif size and expectations.full:
            _inspect_mask(mask, size[::-1], f"object {position} of {record['file_name']}", record, findings)


def _inspect_mask(mask: Any, size: tuple[int, int], where: str, record: Record, findings: Findings) -> None:
    try:
        pixels = int(rle_codec.decode(encode(mask, size)).sum())
    except Exception as error:  # noqa: BLE001 - pycocotools raises unrelated types for what it cannot decode
        findings.problem(PIXELS, record["file_name"], f"has a mask that cannot be decoded: {error}")
        return
    if pixels == 0:
        findings.note("masks without a pixel of their image", where)


def _inspect_classes(path: str, items: Sequence[Record], expectations: Expectations, findings: Findings) -> None:
    wrong = {item["category_id"] for item in items} - set(range(expectations.classes))
    if wrong:
        findings.problem(IDS, path, f"has classes {_some(wrong)} of 0..{expectations.classes - 1}")


def _compare_sizes(path: str, size: tuple[int, int], image_size: tuple[int, int] | None, findings: Findings) -> None:
    if image_size is not None and size != image_size:
        findings.problem(SIZES, path, f"is {_pixels(size)}, but its image {_pixels(image_size)}")


def _pixels(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"


def _some(ids: Iterable[int]) -> str:
    listed = sorted(ids)
    shown = ", ".join(map(str, listed[:_LISTED]))
    return shown if len(listed) <= _LISTED else f"{shown}, ... ({len(listed)} in all)"
