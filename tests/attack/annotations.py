"""Annotation files of datasets: every entry left out or replaced, files cut, and pictures that do not fit them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from fcclip.config import get_cfg
from fcclip.data.datasets import REGISTERED
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.data.validation.report import Report, check_dataset
from fcclip.files.panoptic import write_panoptic_png
from tests.attack.judge import INNER_WORDS, Attack
from tests.attack.mutations import odd_documents, truncations

NAME = "attacked_dataset"
SIDE = 24
CATEGORIES = [{"id": 1, "name": "box", "isthing": 1}, {"id": 5, "name": "grass", "isthing": 0}]
IMAGES = [{"id": number, "file_name": f"{number}.png", "height": SIDE, "width": SIDE} for number in (1, 2)]
INSTANCES = {
    "images": IMAGES,
    "categories": CATEGORIES,
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 8, 6], "area": 48, "iscrowd": 0,
         "segmentation": [[2, 3, 10, 3, 10, 9, 2, 9]]},
        {"id": 2, "image_id": 2, "category_id": 5, "bbox": [0, 0, 24, 12], "area": 288, "iscrowd": 0,
         "segmentation": {"size": [SIDE, SIDE], "counts": [0, *[12] * 2 * SIDE]}},
    ],
}  # fmt: skip
PANOPTIC = {
    "images": IMAGES,
    "categories": CATEGORIES,
    "annotations": [
        {"image_id": number, "file_name": f"{number}.png", "segments_info": [
            {"id": 7, "category_id": 1, "area": 100, "bbox": [0, 0, 10, 10], "iscrowd": 0},
            {"id": 70000, "category_id": 5, "area": SIDE * SIDE - 100, "bbox": [0, 0, SIDE, SIDE], "iscrowd": 0}]}
        for number in (1, 2)
    ],
}  # fmt: skip
DOCUMENTS = {"coco_instance": INSTANCES, "coco_panoptic": PANOPTIC}

# Changes into what an annotator may have meant.
HARMLESS = (
    {"without annotations.0", "without annotations.1", "without annotations.1.segmentation.counts.0"}
    | {
        f"annotations.{number}.{place} = {value}"
        for number in (0, 1)
        for place in ("bbox.0", "bbox.1", "segmentation.0.0", "segmentation.0.1")
        for value in ("-1", "1.5")
    }
    | {f"annotations.{image}.segments_info.{segment}.iscrowd = True" for image in (0, 1) for segment in (0, 1)}
)


def attacks() -> Iterator[Attack]:
    for form, document in DOCUMENTS.items():
        yield Attack(
            f"{form}, whole",
            partial(_check, form=form, text=json.dumps(document)),
            partial(_is_silent_and_same, form=form),
        )
        for what, odd in odd_documents(document):
            act = partial(_check, form=form, text=json.dumps(odd))
            harmless = what in HARMLESS
            yield Attack(f"{form}, {what}", act, partial(_is_told_or_same, form=form, harmless=harmless), "odd.json")
        for what, data in truncations(json.dumps(document).encode(), 15):
            act = partial(_check, form=form, text=data.decode())
            yield Attack(f"{form}, {what}", act, partial(_is_told, form=form), "odd.json")
        for what, text in {
            "nothing": "",
            "a list": "[]",
            "NaN": '{"images": NaN}',
            "deep": "[" * 3000,
            "not JSON": "images: []",
        }.items():
            yield Attack(
                f"{form}, {what}", partial(_check, form=form, text=text), partial(_is_told, form=form), "odd.json"
            )
    yield from _files()


@contextmanager
def _dataset(folder: Path, form: str, text: str) -> Iterator[None]:
    """A dataset of two pictures with these annotations, registered while it is looked at."""
    for part in ("images", "panoptic"):
        (folder / part).mkdir(exist_ok=True)
    ids = np.full((SIDE, SIDE), 70000)
    ids[:10, :10] = 7
    for number in (1, 2):
        if not (folder / "images" / f"{number}.png").exists():
            Image.fromarray(np.full((SIDE, SIDE, 3), 90 * number, np.uint8)).save(folder / "images" / f"{number}.png")
            write_panoptic_png(folder / "panoptic" / f"{number}.png", ids)
    (folder / "odd.json").write_text(text)
    entry = {"NAME": NAME, "FORMAT": form, "IMAGES": str(folder / "images"), "JSON": str(folder / "odd.json")}
    cfg = get_cfg()
    cfg.DATASETS.CUSTOM = [entry | ({"PANOPTIC": str(folder / "panoptic")} if form == "coco_panoptic" else {})]
    try:
        register_custom_datasets(cfg)
        yield
    finally:
        DatasetCatalog.pop(NAME, None)
        MetadataCatalog.pop(NAME, None)
        REGISTERED.pop(NAME, None)


Found = tuple[Report, list[Any]]


def _check(folder: Path, form: str, text: str) -> Found:
    """What the check finds, and what training would load."""
    with _dataset(folder, form, text):
        report = check_dataset(NAME, full=True)
        return report, [] if report.problems else [_essence(record) for record in DatasetCatalog.get(NAME)]


def _essence(record: dict[str, Any]) -> Any:
    """What is learned from a record."""
    if "segments_info" in record:  # masks and boxes are those of the PNG
        return [(item["id"], item["category_id"], int(item.get("iscrowd", 0))) for item in record["segments_info"]]
    return [
        (item["category_id"], item["iscrowd"], _plain(item["bbox"]), _plain(item["segmentation"]))
        for item in record["annotations"]
    ]


def _plain(value: Any) -> str:
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)


def _usual(form: str) -> list[Any]:
    if form not in _USUAL:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            _USUAL[form] = _check(Path(folder), form, json.dumps(DOCUMENTS[form]))[1]
    return _USUAL[form]


_USUAL: dict[str, list[Any]] = {}


def _is_silent_and_same(found: Found, form: str) -> bool:
    report, records = found
    return not report.problems and not report.notes and records == _usual(form) and len(records) == 2


def _is_told(found: Found, form: str) -> bool:
    sentences = [problem.message for problem in found[0].problems] + list(found[0].notes)
    return bool(sentences) and all("\n" not in s and not any(word in s for word in INNER_WORDS) for s in sentences)


def _is_told_or_same(found: Found, form: str, harmless: bool) -> bool:
    """Whether it was said what is wrong, or nothing that is learned has changed, or changed into what can well be."""
    if found[0].problems or found[0].notes:
        return _is_told(found, form)
    return harmless or found[1] == _usual(form)


def _files() -> Iterator[Attack]:
    """Pictures and panoptic PNGs that do not fit the annotations."""
    changes = {
        "a picture of another size": ("images/1.png", np.zeros((9, SIDE, 3), np.uint8)),
        "a picture that is missing": ("images/1.png", None),
        "a picture that is text": ("images/1.png", b"text"),
        "a PNG of another size": ("panoptic/1.png", np.zeros((9, SIDE, 3), np.uint8)),
        "a PNG that is missing": ("panoptic/1.png", None),
        "a PNG that is text": ("panoptic/1.png", b"text"),
        "a PNG that is grey": ("panoptic/1.png", np.zeros((SIDE, SIDE), np.uint8)),
        "a PNG with an unknown id": ("panoptic/1.png", np.full((SIDE, SIDE, 3), 9, np.uint8)),
    }
    for what, (name, content) in changes.items():
        act = partial(_check_changed, name=name, content=content)
        yield Attack(what, act, partial(_is_told, form="coco_panoptic"), Path(name).name)


def _check_changed(folder: Path, name: str, content: np.ndarray | bytes | None) -> Found:
    text = json.dumps(PANOPTIC)
    with _dataset(folder, "coco_panoptic", text):
        if content is None:
            (folder / name).unlink()
        elif isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            Image.fromarray(content).save(folder / name)
    return _check(folder, "coco_panoptic", text) if content is not None else _check_kept(folder, name, text)


def _check_kept(folder: Path, name: str, text: str) -> Found:
    """As `_check`, for a file that is missing: it is not made again."""
    with _dataset(folder, "coco_panoptic", text):
        (folder / name).unlink(missing_ok=True)
        report = check_dataset(NAME, full=True)
    return report, []
