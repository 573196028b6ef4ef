"""COCO instances, read back by pycocotools."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from fcclip.formats.coco_instances import CocoInstances, CocoPolygons
from fcclip.formats.result import describe_segments
from fcclip.formats.writer import WriterOptions
from tests.formats.samples import VOCABULARY, instance_masks, only, panoptic_map, sample


@pytest.mark.parametrize("kind", [CocoInstances, CocoPolygons])
def test_pycocotools_reads_the_masks_back(tmp_path: Path, kind: type[CocoInstances]) -> None:
    writer = kind(tmp_path, WriterOptions(tolerance=0))
    for name in ("a.jpg", "sub/b.jpg"):
        assert writer.add(sample(), name) == []
    (path,) = writer.finish()
    coco = COCO(str(path))
    assert [image["file_name"] for image in coco.loadImgs([1, 2])] == ["a.jpg", "sub/b.jpg"]
    for image_id in (1, 2):
        records = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert [coco.cats[record["category_id"]]["name"] for record in records] == ["cat", "traffic light"]
        assert [record["score"] for record in records] == pytest.approx([0.8, 0.3])
        for record, truth in zip(records, instance_masks(), strict=True):
            assert np.array_equal(coco.annToMask(record).astype(bool), truth)
            assert record["area"] == truth.sum()
            rows, columns = np.nonzero(truth)
            x, y, width, height = record["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())


def test_simple_polygons_keep_the_masks_area_and_box(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:48, :64]
    ids = ((rows - 20) ** 2 + (columns - 30) ** 2 < 17**2).astype(np.int32)
    record = {"id": 1, "category_id": 0, "isthing": True}
    disc = sample(panoptic=ids, segments=describe_segments(ids, [record], [0.5], VOCABULARY), instances=None)
    (path,) = disc.export(tmp_path, "coco-polygons", tolerance=2)
    (record,) = json.loads(path.read_text())["annotations"]
    assert record["area"] == ids.sum()
    assert len(record["segmentation"][0]) < 40


def test_without_instances_the_segments_are_written(tmp_path: Path) -> None:
    (path,) = only("panoptic").export(tmp_path, "coco-instances")
    coco = COCO(str(path))
    masks = [coco.annToMask(record).astype(bool) for record in coco.dataset["annotations"]]
    assert [np.array_equal(mask, panoptic_map() == value) for mask, value in zip(masks, (1, 3, 7), strict=True)] == [
        True
    ] * 3


def test_several_parts_are_several_polygons(tmp_path: Path) -> None:
    (path,) = only("panoptic").export(tmp_path, "coco-polygons", tolerance=0)
    counts = [len(record["segmentation"]) for record in json.loads(path.read_text())["annotations"]]
    assert counts == [2, 2, 1]
