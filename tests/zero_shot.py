"""Tiny ZegCLIP and Cascade-CLIP: every path of the real ones, in a fraction of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from torch import Tensor

from fcclip import get_cfg
from fcclip.meta_arch.zero_shot import ZeroShotModel

CLIP = Path(__file__).parent / "configs" / "tiny_vit.json"
CASCADE_GROUPS = [[5, 6, 7], [8, 9, 10], [11]]
DATASET = "tiny_zero_shot"
CLASSES = [f"class{index}" for index in range(20)]
UNSEEN = [15, 16, 17, 18, 19]


def zero_shot_cfg(architecture: str = "ZegCLIP", **overrides: Any) -> CfgNode:
    """A tiny model of 20 classes, 5 of them unseen; ``overrides`` are config keys with ``__`` for dots."""
    MetadataCatalog.pop(DATASET, None)
    MetadataCatalog.get(DATASET).set(stuff_classes=CLASSES, unseen_classes=UNSEEN, ignore_label=255)
    cfg = get_cfg()
    cfg.MODEL.META_ARCHITECTURE = architecture
    cfg.MODEL.BACKBONE.NAME = "ViTCLIP"
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME, cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = str(CLIP), ""
    cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS = True
    cfg.MODEL.FC_CLIP.TEXT_CACHE = False
    node = cfg.MODEL.ZERO_SHOT
    node.NUM_PROMPTS, node.DIM_FEEDFORWARD, node.CROP_SIZE, node.STRIDE = 5, 256, 128, 106
    if architecture == "CascadeCLIP":
        node.BLOCK_GROUPS = CASCADE_GROUPS
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = (DATASET,)
    cfg.merge_from_list([item for key, value in overrides.items() for item in (key.replace("__", "."), value)])
    return cfg


def zero_shot_model(architecture: str = "ZegCLIP", seed: int = 0, **overrides: Any) -> ZeroShotModel:
    """A tiny model in eval mode, its weights drawn from ``seed``."""
    torch.manual_seed(seed)
    return build_model(zero_shot_cfg(architecture, **overrides)).eval()


def scores_of(model: ZeroShotModel, images: Tensor) -> Tensor:
    """Scores (B, C, H, W) of the classes asked for in images (B, 3, H, W) of one window each."""
    classes = model.vocabularies.test(model.device)
    return model.class_scores(model.decode(images), classes, (images.shape[-2], images.shape[-1]))
