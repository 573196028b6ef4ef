from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from pycocotools import mask as rle

from fcclip import get_cfg
from fcclip.data.datasets import panoshapes
from fcclip.data.mappers.mask_former import MaskFormerPanopticDatasetMapper
from fcclip.data.panoshapes.classes import CLASSES, SEEN_CLASSES, unseen_ids
from fcclip.data.panoshapes.dataset import SPLITS, Split, label_map, write_split
from fcclip.data.validation.report import COUNT, check_dataset
from fcclip.files.panoptic import read_panoptic_png

SCENES = 3


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Split]:
    """All splits with a few scenes each, below an empty cache folder."""
    few = {name: Split(name, split.seed, SCENES, split.classes) for name, split in SPLITS.items()}
    monkeypatch.setattr(panoshapes, "SPLITS", few)
    monkeypatch.setenv("FCCLIP_CACHE", str(tmp_path))
    return few


@pytest.mark.parametrize("name", SPLITS)
def test_a_registered_split_is_rendered_when_it_is_first_used(small: dict[str, Split], name: str, tmp_path: Path):
    assert not list(tmp_path.iterdir())
    records = DatasetCatalog.get(f"panoshapes_{name}_panoptic")
    split = small[name]
    assert len(records) == SCENES
    for index, record in enumerate(records):
        scene = split.scene(index)
        assert np.array_equal(read_panoptic_png(record["pan_seg_file_name"]), scene.ids)
        with Image.open(record["sem_seg_file_name"]) as image:
            assert np.array_equal(np.asarray(image), label_map(scene))
        with Image.open(record["file_name"]) as image:
            assert np.abs(np.asarray(image).astype(int) - scene.image).mean() < 6  # JPEG
        assert [(info["id"], info["category_id"]) for info in record["segments_info"]] == [
            (segment.id, segment.category) for segment in scene.segments
        ]
        assert [info["isthing"] for info in record["segments_info"]] == [
            split.classes[segment.category].is_thing for segment in scene.segments
        ]


def test_instances_are_the_things_of_the_map(small: dict[str, Split]):
    from pycocotools.coco import COCO

    DatasetCatalog.get("panoshapes_val_all_panoptic")
    coco = COCO(MetadataCatalog.get("panoshapes_val_all_panoptic").json_file)
    for index in range(SCENES):
        scene = small["val_all"].scene(index)
        masks = [rle.decode(annotation["segmentation"]) > 0 for annotation in coco.imgToAnns[index]]
        things = [segment for segment in scene.segments if CLASSES[segment.category].is_thing]
        assert len(masks) == len(things)
        for mask, thing in zip(masks, things, strict=True):
            assert np.array_equal(mask, scene.ids == thing.id)


def test_metadata_names_the_classes_and_those_unseen():
    every, seen = (MetadataCatalog.get(f"panoshapes_val_{name}_panoptic") for name in ("all", "seen"))
    assert every.stuff_classes == [entry.name for entry in CLASSES]
    assert seen.stuff_classes == [entry.name for entry in SEEN_CLASSES]
    assert every.unseen_classes == unseen_ids()
    assert seen.get("unseen_classes") is None
    assert set(every.thing_dataset_id_to_contiguous_id.values()) == set(range(96))
    for id_, index in seen.stuff_dataset_id_to_contiguous_id.items():
        assert every.stuff_classes[every.stuff_dataset_id_to_contiguous_id[id_]] == seen.stuff_classes[index]


def test_a_written_split_is_left_alone(tmp_path: Path):
    split = Split("few", 5, 2, CLASSES)
    write_split(tmp_path / "few", split, side=64)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "few").rglob("*")}
    write_split(tmp_path / "few", split, side=64)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "few").rglob("*")} == before


def test_an_interrupted_split_is_completed(tmp_path: Path):
    split = Split("few", 5, 2, CLASSES)
    write_split(tmp_path / "whole", split, side=64)
    write_split(tmp_path / "few", split, side=64)
    (tmp_path / "few" / "panoptic.json").unlink()
    (tmp_path / "few" / "images" / "000001.jpg").write_bytes(b"")
    write_split(tmp_path / "few", split, side=64)
    for path in (tmp_path / "whole").rglob("*.*"):
        assert (tmp_path / "few" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_the_check_and_the_training_mapper_accept_it(small: dict[str, Split]):
    report = check_dataset("panoshapes_val_all_panoptic", full=True)
    assert [problem.check for problem in report.problems] == [COUNT]  # three scenes are not the whole split
    cfg = get_cfg()
    cfg.DATASETS.TRAIN = ("panoshapes_train_seen_panoptic",)
    cfg.INPUT.MIN_SIZE_TRAIN = (128,)
    sample = MaskFormerPanopticDatasetMapper(cfg)(DatasetCatalog.get(cfg.DATASETS.TRAIN[0])[0])
    masks = sample["instances"].gt_masks
    assert masks.sum(dim=0).max() == 1
    assert masks.any(dim=0).float().mean() > 0.99
