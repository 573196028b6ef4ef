"""Exports of public tools, as they come: checked, trained on, and scored 100 against themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BitMasks, Instances

from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.data.validation.masks import encode
from fcclip.data.validation.report import check_dataset
from fcclip.engine.trainer import Trainer
from fcclip.evaluation.instance import InstanceSegEvaluator
from fcclip.evaluation.semantic import SemanticEvaluator
from fcclip.files.images import read_label_map
from tests.data import exports
from tests.tiny import tiny_cfg

PICTURES = exports.pictures()


def config(entry: dict[str, str], folder: Path, classes: int, mapper: str) -> Any:
    name = f"export_{folder.name}"
    cfg = tiny_cfg(
        DATASETS__CUSTOM=[{"NAME": name, **entry}],
        DATASETS__TRAIN=(name,),
        DATASETS__TEST=(name,),
        INPUT__DATASET_MAPPER_NAME=mapper,
        INPUT__IMAGE_SIZE=64,
        INPUT__MIN_SIZE_TRAIN=(64,),
        MODEL__SEM_SEG_HEAD__NUM_CLASSES=classes,
        SOLVER__IMS_PER_BATCH=2,
        SOLVER__MAX_ITER=2,
        SOLVER__STEPS=(),
        SOLVER__AMP__ENABLED=False,
        OUTPUT_DIR=str(folder / "output"),
    )
    register_custom_datasets(cfg)
    return cfg


def train_two_steps(cfg: Any) -> None:
    trainer = Trainer(cfg)
    trainer.cfg.defrost()
    trainer.cfg.DATASETS.TEST = ()
    trainer.train()


def oracle(record: dict[str, Any]) -> dict[str, Any]:
    """The ground truth of a record as a prediction."""
    from pycocotools import mask as rle_codec

    size = record["height"], record["width"]
    objects = [annotation for annotation in record["annotations"] if not annotation["iscrowd"]]
    masks = np.stack([rle_codec.decode(encode(annotation["segmentation"], size)) for annotation in objects]) > 0
    found = Instances(size, pred_masks=torch.from_numpy(masks), scores=torch.full((len(masks),), 0.9))
    found.pred_boxes = BitMasks(found.pred_masks).get_bounding_boxes()
    found.pred_classes = torch.tensor([annotation["category_id"] for annotation in objects])
    return {"instances": found}


@pytest.mark.parametrize("export", exports.INSTANCE_EXPORTS, ids=lambda export: export.__name__)
def test_an_instance_export_from_check_to_score(tmp_path: Path, export: exports.Export):
    cfg = config(export(tmp_path, PICTURES), tmp_path, len(exports.CLASSES), "coco_instance_lsj")
    (name,) = cfg.DATASETS.TRAIN
    report = check_dataset(name, full=True)
    assert report.problems == ()
    assert [(count.name, count.loaded) for count in report.classes] == [("box", 3), ("disc", 3)]
    assert MetadataCatalog.get(name).thing_classes == list(exports.CLASSES)
    train_two_steps(cfg)
    evaluator = InstanceSegEvaluator(name)
    for record in DatasetCatalog.get(name):
        evaluator.add(evaluator.measure(record, oracle(record)))
    values = evaluator.results()["segm"]
    assert {key: values[key] for key in ("AP", "AP-box", "AP-disc")} == pytest.approx(
        {"AP": 100, "AP-box": 100, "AP-disc": 100}
    )


@pytest.mark.parametrize("export", exports.INSTANCE_EXPORTS, ids=lambda export: export.__name__)
def test_masks_are_those_that_were_drawn(tmp_path: Path, export: exports.Export):
    """Polygons follow the centres of border pixels, run lengths the pixels themselves."""
    cfg = config(export(tmp_path, PICTURES), tmp_path, len(exports.CLASSES), "coco_instance_lsj")
    for record, picture in zip(DatasetCatalog.get(cfg.DATASETS.TRAIN[0]), PICTURES, strict=True):
        masks = oracle(record)["instances"].pred_masks.numpy()
        for mask, (_, drawn) in zip(masks, picture.objects, strict=True):
            border = 0 if export is exports.datumaro else 100
            assert (mask != drawn).sum() <= border


def test_crowds_of_cvat_are_counted(tmp_path: Path):
    cfg = config(exports.cvat(tmp_path, PICTURES), tmp_path, 2, "coco_instance_lsj")
    box = check_dataset(cfg.DATASETS.TRAIN[0]).classes[0]
    assert (box.listed, box.loaded, box.left_out) == (4, 3, {"crowd region (iscrowd 1)": 1})


def test_a_semantic_export_from_check_to_score(tmp_path: Path):
    cfg = config(exports.roboflow_masks(tmp_path, PICTURES), tmp_path, 3, "mask_former_semantic")
    (name,) = cfg.DATASETS.TRAIN
    report = check_dataset(name, full=True)
    assert report.problems == ()
    assert [(count.name, count.loaded) for count in report.classes] == [("background", 3), ("box", 3), ("disc", 3)]
    train_two_steps(cfg)
    evaluator = SemanticEvaluator(name)
    for record in DatasetCatalog.get(name):
        labels = torch.from_numpy(read_label_map(record["sem_seg_file_name"]).astype(np.int64))
        evaluator.add(evaluator.measure(record, {"sem_seg": labels}))
    assert evaluator.results()["sem_seg"]["mIoU"] == 100
