"""Files of predictions and of ground truth that are scored, and label maps of every kind."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcclip.evaluation.files import score_label_folders, score_panoptic_files
from fcclip.evaluation.instance_files import score_instance_files
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import read_panoptic_png, write_panoptic_png
from tests.attack import annotations
from tests.attack.images import SIZE, encoded
from tests.attack.judge import Attack
from tests.attack.mutations import bit_flips, odd_documents, splices, truncations

SIDE = annotations.SIDE
DETECTIONS = [
    {"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [2, 3, 8, 6], "segmentation": [[2, 3, 10, 3, 10, 9, 2,
    9]]},
    {"image_id": 2, "category_id": 5, "score": 0.4, "bbox": [0, 0, 24, 12], "segmentation": [[0, 0, 24, 0, 24, 12, 0,
    12]]},
]  # fmt: skip

# Endings of the changes that are other predictions, or another truth, and no mistakes.
COUNTS = (
    *(f"without {place}" for place in ("0", "1", "annotations.0", "annotations.1")),
    *(f"segments_info{place}" for place in (".0", ".1", " = []")),
    *(f"segmentation.0.{place} = {value}" for place in (0, 1) for value in ("-1", "1.5")),
    "annotations = []",
    "isthing = True",
    "segmentation.counts.0",
)


def attacks() -> Iterator[Attack]:
    yield from _panoptic()
    yield from _instances()
    yield from _label_maps()
    yield from _panoptic_pngs()
    yield from _label_folders()


def _panoptic() -> Iterator[Attack]:
    for side in ("truth", "prediction"):
        for what, odd in odd_documents(annotations.PANOPTIC):
            act = partial(_score_panoptic, side=side, text=json.dumps(odd))
            yield Attack(f"panoptic {side}, {what}", act, partial(_is_perfect, counts=what.endswith(COUNTS)))
        for what, data in truncations(json.dumps(annotations.PANOPTIC).encode(), 8):
            act = partial(_score_panoptic, side=side, text=data.decode())
            yield Attack(f"panoptic {side}, {what}", act, named=f"{side}.json", may_pass=False)


def _score_panoptic(folder: Path, side: str, text: str) -> dict[str, Any]:
    ids = np.full((SIDE, SIDE), 70000)
    ids[:10, :10] = 7
    for name in ("truth", "prediction"):
        for number in (1, 2):
            write_panoptic_png(folder / name / f"{number}.png", ids)
        (folder / f"{name}.json").write_text(text if name == side else json.dumps(annotations.PANOPTIC))
    files = (folder / "truth.json", folder / "truth", folder / "prediction.json", folder / "prediction")
    return score_panoptic_files(*files, threads=1)


def _is_perfect(report: dict[str, Any], counts: bool) -> bool:
    """PQ is that of the files before they were changed, unless what was changed `counts`."""
    values = [report[group]["PQ"] for group in ("All", "Things", "Stuff")]
    return all(value is None or 0 <= value <= 100 for value in values) if counts else values == [100.0] * 3


def _instances() -> Iterator[Attack]:
    for what, odd in odd_documents(DETECTIONS):
        act = partial(_score_instances, truth=json.dumps(annotations.INSTANCES), prediction=json.dumps(odd))
        yield Attack(f"instances, {what}", act, partial(_is_usual, counts=what.endswith(COUNTS)))
    for what, odd in odd_documents(annotations.INSTANCES):
        act = partial(_score_instances, truth=json.dumps(odd), prediction=json.dumps(DETECTIONS))
        yield Attack(f"instance truth, {what}", act, partial(_is_usual, counts=what.endswith(COUNTS)))


def _score_instances(folder: Path, truth: str, prediction: str) -> dict[str, Any]:
    (folder / "truth.json").write_text(truth)
    (folder / "prediction.json").write_text(prediction)
    return score_instance_files(folder / "truth.json", folder / "prediction.json")


def _is_usual(report: dict[str, Any], counts: bool) -> bool:
    """AP of masks is that of the files before they were changed, unless what was changed `counts`."""
    value = report["segm"]["AP"]
    return value is None or 0 <= value <= 100.0001 if counts else value == pytest.approx(100, abs=1e-6)


def _label_maps() -> Iterator[Attack]:
    labels = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 7
    kinds = {"L": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32, "1": bool}
    for form in ("PNG", "TIFF"):
        for mode, kind in kinds.items():
            if (form, mode) == ("PNG", "F"):
                continue
            data = _image(Image.fromarray(labels.astype(kind)), form)
            expected = labels.astype(bool) if mode == "1" else labels
            act = partial(_read_map, name=f"odd.{form.lower()}", data=data)
            yield Attack(
                f"label map {form} {mode}",
                act,
                partial(np.array_equal, expected),
                f"odd.{form.lower()}",
                mode not in ("F", "1"),
            )
    palette = Image.fromarray(labels.astype(np.uint8), "P")
    palette.putpalette(list(range(256)) * 3)
    data = _image(palette, "PNG")
    yield Attack(
        "label map with a palette",
        partial(_read_map, name="odd.png", data=data),
        partial(np.array_equal, labels),
        "odd.png",
    )
    for form, mode in (("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "LA"), ("JPEG", "RGB")):
        act = partial(_read_map, name="odd.png", data=encoded(form, mode))
        yield Attack(f"label map that is {form} {mode}", act, named="odd.png", may_pass=False)
    for what, changed in (*truncations(data, 10), *bit_flips(data, 30), *splices(data, 10)):
        act = partial(_read_map, name="odd.png", data=changed)
        yield Attack(f"label map, {what}", act, lambda found: found.ndim == 2 and found.dtype.kind in "iu", "odd.png")


def _image(image: Image.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


def _read_map(folder: Path, name: str, data: bytes) -> np.ndarray:
    (folder / name).write_bytes(data)
    return read_label_map(folder / name)


def _panoptic_pngs() -> Iterator[Attack]:
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    data = _image(Image.fromarray(pixels), "PNG")
    ids = pixels.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
    yield Attack("panoptic PNG", partial(_read_png, data=data), partial(np.array_equal, ids))
    for what, changed in (*truncations(data, 10), *bit_flips(data, 30), *splices(data, 10)):
        yield Attack(
            f"panoptic PNG, {what}", partial(_read_png, data=changed), lambda found: found.ndim == 2, "odd.png"
        )
    for form, mode in (("PNG", "L"), ("PNG", "I;16")):
        yield Attack(
            f"panoptic PNG that is {mode}",
            partial(_read_png, data=encoded(form, mode)),
            named="odd.png",
            may_pass=False,
        )


def _read_png(folder: Path, data: bytes) -> np.ndarray:
    (folder / "odd.png").write_bytes(data)
    return read_panoptic_png(folder / "odd.png")


def _label_folders() -> Iterator[Attack]:
    right = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 3
    for what, odd in {
        "a label that no class has": np.where(right == 2, 9, right),
        "another size": right[:-1],
        "void in the prediction": np.where(right == 2, 255, right),
    }.items():
        for side in ("truth", "prediction"):
            act = partial(_score_labels, side=side, odd=odd)
            yield Attack(f"label maps, {what} in the {side}", act, _has_iou, "1.png")
    yield Attack(
        "label maps, none in the prediction",
        partial(_score_labels, side="prediction", odd=None),
        named="prediction",
        may_pass=False,
    )
    yield Attack(
        "label maps, none in the truth", partial(_score_labels, side="truth", odd=None), named="truth", may_pass=False
    )


def _score_labels(folder: Path, side: str, odd: np.ndarray | None) -> dict[str, Any]:
    right = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % 3
    for name in ("truth", "prediction"):
        (folder / name).mkdir()
        labels = odd if name == side else right
        if labels is not None:
            Image.fromarray(labels.astype(np.uint8)).save(folder / name / "1.png")
    return score_label_folders(folder / "truth", folder / "prediction", ["a", "b", "c"], 255, threads=1)


def _has_iou(report: dict[str, Any]) -> bool:
    return report["images"] == 1 and 0 <= report["All"]["mIoU"] <= 100
