"""A training script as people write it after the published one: Detectron2's trainer, and the names of `fcclip`."""

from __future__ import annotations

import argparse
import os
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import MetadataCatalog, build_detection_train_loader
from detectron2.engine import DefaultTrainer, default_setup
from detectron2.evaluation import DatasetEvaluators
from detectron2.projects.deeplab import add_deeplab_config, build_lr_scheduler

from fcclip import (
    COCOInstanceNewBaselineDatasetMapper,
    COCOPanopticNewBaselineDatasetMapper,
    InstanceSegEvaluator,
    MaskFormerInstanceDatasetMapper,
    MaskFormerPanopticDatasetMapper,
    MaskFormerSemanticDatasetMapper,
    SemanticSegmentorWithTTA,
    add_fcclip_config,
    add_maskformer2_config,
)

MAPPERS = {
    "coco_instance_lsj": COCOInstanceNewBaselineDatasetMapper,
    "coco_panoptic_lsj": COCOPanopticNewBaselineDatasetMapper,
    "mask_former_instance": MaskFormerInstanceDatasetMapper,
    "mask_former_panoptic": MaskFormerPanopticDatasetMapper,
    "mask_former_semantic": MaskFormerSemanticDatasetMapper,
}


class Trainer(DefaultTrainer):
    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        mapper = MAPPERS[cfg.INPUT.DATASET_MAPPER_NAME](cfg, True)
        return build_detection_train_loader(cfg, mapper=mapper)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: Any) -> torch.optim.Optimizer:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(trained, cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY)

    @classmethod
    def build_lr_scheduler(cls, cfg: CfgNode, optimizer: Any) -> Any:
        return build_lr_scheduler(cfg, optimizer)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str, output_folder: str | None = None) -> DatasetEvaluators:
        output_folder = output_folder or os.path.join(cfg.OUTPUT_DIR, "inference")  # noqa: PTH118, as they write it
        metadata = MetadataCatalog.get(dataset_name)
        found: list[Any] = []
        if metadata.get("json_file") and cfg.MODEL.MASK_FORMER.TEST.INSTANCE_ON:
            found.append(InstanceSegEvaluator(dataset_name, output_dir=output_folder))
        return DatasetEvaluators(found)

    @classmethod
    def test_with_TTA(cls, cfg: CfgNode, model: Any) -> dict[str, Any]:
        wrapped = SemanticSegmentorWithTTA(cfg, model)
        names = cfg.DATASETS.TEST
        evaluators = [cls.build_evaluator(cfg, name, os.path.join(cfg.OUTPUT_DIR, "tta")) for name in names]  # noqa: PTH118
        return {f"{task}_TTA": values for task, values in cls.test(cfg, wrapped, evaluators).items()}


def setup(args: argparse.Namespace) -> CfgNode:
    cfg = get_cfg()
    add_deeplab_config(cfg)
    add_maskformer2_config(cfg)
    add_fcclip_config(cfg)
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    return cfg


def main(args: argparse.Namespace) -> dict[str, Any]:
    cfg = setup(args)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    trainer.train()
    results = dict(Trainer.test(cfg, trainer.model))
    if cfg.TEST.AUG.ENABLED:
        results.update(Trainer.test_with_TTA(cfg, trainer.model))
    return results
