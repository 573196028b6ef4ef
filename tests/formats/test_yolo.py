"""YOLO's text files, by the documented rules."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from fcclip.formats.writer import WriterOptions
from fcclip.formats.yolo import Yolo
from tests.formats.samples import HEIGHT, WIDTH, instance_masks, only, panoptic_map, sample


def read_labels(path: Path) -> list[tuple[int, np.ndarray]]:
    """The class and corners (shares of width and height) of every line, checked as Ultralytics does."""
    objects = []
    for line in path.read_text().splitlines():
        first, *rest = line.split()
        corners = np.array(rest, float).reshape(-1, 2)
        assert len(corners) >= 3
        assert corners.min() >= 0
        assert corners.max() <= 1
        objects.append((int(first), corners))
    return objects


def fill(corners: np.ndarray) -> np.ndarray:
    """What OpenCV fills, sixteen times as large so that its outlines do not matter; back at the size of the picture."""
    scale = 16
    canvas = np.zeros((HEIGHT * scale, WIDTH * scale), np.uint8)
    cv2.fillPoly(canvas, [np.round(corners * (WIDTH * scale, HEIGHT * scale)).astype(np.int32)], 1)
    return cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(bool) | (
        canvas[scale // 2 :: scale, scale // 2 :: scale] > 0
    )


def test_a_whole_dataset(tmp_path: Path) -> None:
    writer = Yolo(tmp_path, WriterOptions(tolerance=0))
    for name in ("a.png", "sub/b.png"):
        writer.add(sample(), name)
    (config,) = writer.finish()
    assert yaml.safe_load(config.read_text())["names"] == {0: "cat", 1: "traffic light", 2: "sky", 3: "wall"}
    for name in ("a", "sub/b"):
        with Image.open(tmp_path / "images" / f"{name}.jpg") as image:
            assert image.size == (WIDTH, HEIGHT)
        objects = read_labels(tmp_path / "labels" / f"{name}.txt")
        assert [class_id for class_id, _ in objects] == [0, 1]
        for (_, corners), truth in zip(objects, instance_masks(), strict=True):
            assert (fill(corners) != truth).mean() < 0.01, "hole and island included"


def test_a_line_per_segment_where_there_are_no_instances(tmp_path: Path) -> None:
    only("panoptic").export(tmp_path, "yolo", "a.png", tolerance=0)
    objects = read_labels(tmp_path / "labels" / "a.txt")
    assert [class_id for class_id, _ in objects] == [0, 1, 2]
    sky = objects[2][1] * (WIDTH, HEIGHT)
    assert sky.tolist() == [[0, 0], [64, 0], [64, 12], [0, 12]]
    assert (fill(objects[1][1]) == (panoptic_map() == 3)).mean() > 0.99


def test_supervision_reads_it(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is an independent reader")
    sample().export(tmp_path, "yolo", "a.png", tolerance=0)
    dataset = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml"), force_masks=True
    )
    ((_, _, detections),) = list(dataset)
    assert dataset.classes == ["cat", "traffic light", "sky", "wall"]
    assert detections.class_id.tolist() == [0, 1]
    for mask, truth in zip(detections.mask, instance_masks(), strict=True):
        assert (mask & truth).sum() / (mask | truth).sum() > 0.8, "supervision fills outlines too"
