"""From dataset records to samples; INPUT.DATASET_MAPPER_NAME chooses one of `TRAIN_MAPPERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetMapper

from fcclip.data.mappers.base import TrainMapper
from fcclip.data.mappers.inference import InferenceMapper
from fcclip.data.mappers.lsj import COCOInstanceNewBaselineDatasetMapper, COCOPanopticNewBaselineDatasetMapper
from fcclip.data.mappers.mask_former import (
    MaskFormerInstanceDatasetMapper,
    MaskFormerPanopticDatasetMapper,
    MaskFormerSemanticDatasetMapper,
)
from fcclip.data.mappers.video import VideoInferenceMapper
from fcclip.data.mappers.zero_shot import ZeroShotMapper

__all__ = [
    "TRAIN_MAPPERS",
    "COCOInstanceNewBaselineDatasetMapper",
    "COCOPanopticNewBaselineDatasetMapper",
    "InferenceMapper",
    "MaskFormerInstanceDatasetMapper",
    "MaskFormerPanopticDatasetMapper",
    "MaskFormerSemanticDatasetMapper",
    "TrainMapper",
    "VideoInferenceMapper",
    "ZeroShotMapper",
    "build_train_mapper",
]

TRAIN_MAPPERS: dict[str, type[TrainMapper | ZeroShotMapper]] = {
    "coco_panoptic_lsj": COCOPanopticNewBaselineDatasetMapper,
    "coco_instance_lsj": COCOInstanceNewBaselineDatasetMapper,
    "mask_former_semantic": MaskFormerSemanticDatasetMapper,
    "mask_former_panoptic": MaskFormerPanopticDatasetMapper,
    "mask_former_instance": MaskFormerInstanceDatasetMapper,
    "zero_shot": ZeroShotMapper,
}


def build_train_mapper(cfg: CfgNode) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The mapper of INPUT.DATASET_MAPPER_NAME; "detectron2" is Detectron2's own.

    Raises:
        ValueError: there is no such mapper.
    """
    name = cfg.INPUT.DATASET_MAPPER_NAME
    if name in TRAIN_MAPPERS:
        return TRAIN_MAPPERS[name](cfg, True)
    if name != "detectron2":
        known = ", ".join([*TRAIN_MAPPERS, "detectron2"])
        raise ValueError(f'INPUT.DATASET_MAPPER_NAME is "{name}"; choose one of {known}')
    return DatasetMapper(cfg, True)
