"""Datasets prepared from their original layouts and loaded through Detectron2's catalog."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog

from fcclip.data.datasets import REGISTERED
from fcclip.data.prepare import ade20k, ade20k_full, cityscapes, pascal_context, pascal_voc
from fcclip.data.prepare import coco as prepare_coco
from fcclip.data.prepare.jobs import Options
from fcclip.files.images import read_label_map
from tests.data import trees
from tests.shared import SHARED, needs_shared


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def test_coco(root: Path):
    trees.coco(root)
    prepare_coco.prepare_semantic(Options(root))
    prepare_coco.prepare_stuff(Options(root))
    (record,) = DatasetCatalog.get("openvocab_coco_2017_val_panoptic_with_sem_seg")
    assert record["image_id"] == 2
    assert record["file_name"] == str(root / "coco/val2017/000000000002.jpg")
    assert record["pan_seg_file_name"] == str(root / "coco/panoptic_val2017/000000000002.png")
    assert record["sem_seg_file_name"] == str(root / "coco/panoptic_semseg_val2017/000000000002.png")
    found = [(segment["id"], segment["category_id"], segment["isthing"]) for segment in record["segments_info"]]
    assert found == [(7, 0, True), (300, 132, False)]
    (record,) = DatasetCatalog.get("openvocab_coco_2017_val")
    assert record["annotations"][0]["category_id"] == 79  # toothbrush
    (record,) = DatasetCatalog.get("openvocab_coco_2017_test_stuff_sem_seg")
    assert read_label_map(Path(record["sem_seg_file_name"])).max() == 255


def test_lvis(root: Path):
    trees.lvis(root)
    (record,) = DatasetCatalog.get("openvocab_lvis_v1_val")
    assert Path(record["file_name"]).is_file()
    assert record["annotations"][0]["category_id"] == 1202
    assert (record["not_exhaustive_category_ids"], record["neg_category_ids"]) == ([2], [5])


def test_ade20k(root: Path):
    trees.ade20k(root)
    for prepare in (ade20k.prepare_semantic, ade20k.prepare_instances, ade20k.prepare_panoptic):
        prepare(Options(root))
    (record,) = DatasetCatalog.get("openvocab_ade20k_panoptic_train")
    assert record["image_id"] == "ADE_train_00000001"
    assert record["file_name"].endswith("images/training/ADE_train_00000001.jpg")
    assert record["sem_seg_file_name"].endswith("annotations_detectron2/training/ADE_train_00000001.png")
    found = [(segment["category_id"], segment["isthing"]) for segment in record["segments_info"]]
    assert found == [(0, False), (1, False), (7, True), (149, True)]
    (record,) = DatasetCatalog.get("openvocab_ade20k_instance_val")
    assert [annotation["category_id"] for annotation in record["annotations"]] == [0, 99]
    (record,) = DatasetCatalog.get("openvocab_ade20k_sem_seg_val")
    assert set(record) == {"file_name", "sem_seg_file_name"}


def test_ade20k_full(root: Path):
    trees.ade20k_full(root, size=(4, 6))
    ade20k_full.prepare(Options(root))
    (record,) = DatasetCatalog.get("openvocab_ade20k_full_sem_seg_val")
    assert np.unique(read_label_map(Path(record["sem_seg_file_name"]))).tolist() == [0, 65535]


def test_cityscapes(root: Path):
    trees.cityscapes(root)
    cityscapes.prepare(Options(root))
    (record,) = DatasetCatalog.get("openvocab_cityscapes_fine_panoptic_val")
    assert record["image_id"] == "ulm_000000_000019"
    assert record["file_name"].endswith("leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png")
    assert record["sem_seg_file_name"].endswith("gtFine/val/ulm/ulm_000000_000019_gtFine_labelTrainIds.png")
    assert [segment["category_id"] for segment in record["segments_info"]] == [0, 13, 13]
    assert all("isthing" not in segment for segment in record["segments_info"])


def test_mapillary(root: Path):
    trees.mapillary(root)
    (record,) = DatasetCatalog.get("openvocab_mapillary_vistas_panoptic_val")
    assert [segment["category_id"] for segment in record["segments_info"]] == [0, 64]
    assert record["sem_seg_file_name"].endswith("validation/labels/scene.png")


def test_pascal(root: Path):
    trees.pascal_voc(root)
    trees.pascal_context(root)
    for prepare in (pascal_voc.prepare, pascal_context.prepare_59, pascal_context.prepare_459):
        prepare(Options(root))
    for name in ("pascal20", "pascal21", "pascal_ctx59", "pascal_ctx459"):
        (record,) = DatasetCatalog.get(f"openvocab_{name}_sem_seg_val")
        assert Path(record["file_name"]).stem == Path(record["sem_seg_file_name"]).stem


@pytest.mark.parametrize(
    "name", sorted(name for name, spec in REGISTERED.items() if spec.layout and spec.layout.required())
)
def test_a_missing_dataset_says_where_what_and_how(name: str, root: Path):
    with pytest.raises(FileNotFoundError) as error:
        DatasetCatalog.get(name)
    message = str(error.value)
    layout = REGISTERED[name].layout
    assert layout is not None
    assert name in message
    assert str(root) in message
    assert all(path in message for path in layout.required())
    assert "datasets/README.md" in message
    for script in [word.strip("`.,") for word in message.split() if "prepare_" in word]:
        assert (Path(__file__).resolve().parents[2] / script).is_file(), script


def test_only_what_is_missing_is_named(root: Path):
    trees.ade20k(root)
    ade20k.prepare_semantic(Options(root))
    with pytest.raises(FileNotFoundError, match="prepare_ade20k_pan_seg") as error:
        DatasetCatalog.get("openvocab_ade20k_panoptic_val")
    assert "images/validation" not in str(error.value)
    assert "ade20k_panoptic_val.json" in str(error.value)


def test_an_unknown_category_is_an_error(root: Path):
    trees.mapillary(root)
    path = root / "mapillary_vistas/validation/panoptic/panoptic_2018.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segments_info"][0]["category_id"] = 99
    trees.write_json(path, content)
    with pytest.raises(ValueError, match="category id 99"):
        DatasetCatalog.get("openvocab_mapillary_vistas_panoptic_val")


def test_no_image_with_a_label_map_is_an_error(root: Path):
    trees.write_image(root / "pascal_voc_d2/images/validation/a.jpg")
    trees.write_labels(root / "pascal_voc_d2/annotations_pascal21/validation/b.png", [[0]])
    with pytest.raises(ValueError, match="no image"):
        DatasetCatalog.get("openvocab_pascal21_sem_seg_val")


@pytest.mark.parametrize(("alone", "says"), [("images", "has no label map"), ("annotations_pascal21", "has no image")])
def test_a_file_without_a_partner_is_refused(root: Path, alone: str, says: str):
    trees.write_image(root / "pascal_voc_d2/images/validation/a.jpg")
    trees.write_labels(root / "pascal_voc_d2/annotations_pascal21/validation/a.png", [[0]])
    (root / f"pascal_voc_d2/{alone}/validation/b.{'jpg' if alone == 'images' else 'png'}").touch()
    with pytest.raises(FileNotFoundError, match=rf"b\.(jpg|png) {says}"):
        DatasetCatalog.get("openvocab_pascal21_sem_seg_val")


@needs_shared
def test_real_coco_images(root: Path):
    sample = SHARED / "data/coco_panoptic_sample"
    (root / "coco/annotations").mkdir(parents=True)
    shutil.copytree(sample / "images", root / "coco/val2017")
    shutil.copytree(sample / "panoptic", root / "coco/panoptic_val2017")
    shutil.copy(sample / "panoptic.json", root / "coco/annotations/panoptic_val2017.json")
    content = json.loads((sample / "panoptic.json").read_text())
    records = prepare_semantic_of_validation(root)
    for record, annotation in zip(records, content["annotations"], strict=True):
        labels = read_label_map(Path(record["sem_seg_file_name"]))
        counted = {int(label): int(count) for label, count in zip(*np.unique(labels, return_counts=True), strict=True)}
        stated: dict[int, int] = {}
        for segment in record["segments_info"]:
            stated[segment["category_id"]] = stated.get(segment["category_id"], 0) + segment["area"]
        counted.pop(255, None)
        assert counted == stated
        assert len(record["segments_info"]) == len(annotation["segments_info"])


def prepare_semantic_of_validation(root: Path) -> list[dict]:
    from fcclip.data.datasets.tables import category_table
    from fcclip.files.panoptic import read_panoptic_json

    content = read_panoptic_json(root / "coco/annotations/panoptic_val2017.json")
    ids = category_table("coco_panoptic").index_of_id()
    prepare_coco.convert_panoptic(
        content, root / "coco/panoptic_val2017", root / "coco/panoptic_semseg_val2017", ids, workers=0
    )
    return DatasetCatalog.get("openvocab_coco_2017_val_panoptic_with_sem_seg")


@needs_shared
def test_real_ade20k_images(root: Path):
    sample, base = SHARED / "data/ade20k_sample", root / "ADEChallengeData2016"
    for folder in ("training", "validation"):
        shutil.copytree(sample / "images", base / "images" / folder)
        shutil.copytree(sample / "annotations", base / "annotations" / folder)
    ade20k.prepare_semantic(Options(root))
    records = DatasetCatalog.get("openvocab_ade20k_sem_seg_val")
    assert len(records) == 3
    for record in records:
        raw = read_label_map(sample / "annotations" / Path(record["sem_seg_file_name"]).name).astype(int)
        np.testing.assert_array_equal(read_label_map(Path(record["sem_seg_file_name"])), (raw - 1) % 256)
