"""A whole FC-CLIP of a few channels, with random weights: every path of the real one, in a fraction of a second."""

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from fcclip import get_cfg
from fcclip.meta_arch.fcclip import FCCLIP

REPOSITORY = Path(__file__).resolve().parents[1]
PUBLISHED_CONFIGS = REPOSITORY / "configs" / "coco" / "panoptic-segmentation" / "fcclip"
CLIP_DESCRIPTIONS = {kind: Path(__file__).parent / "configs" / f"tiny_{kind}.json" for kind in ("convnext", "resnet")}


def tiny_cfg(kind: str = "convnext", **overrides: Any) -> CfgNode:
    """The published ADE20K config, shrunk; ``overrides`` are config keys with ``__`` for dots."""
    cfg = get_cfg()
    cfg.merge_from_file(str(PUBLISHED_CONFIGS / "fcclip_convnext_large_eval_ade20k.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.FC_CLIP.CLIP_MODEL_NAME = str(CLIP_DESCRIPTIONS[kind])
    cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = ""
    cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS = True
    cfg.MODEL.FC_CLIP.ENSEMBLE_ON_VALID_MASK = kind == "resnet"
    cfg.MODEL.FC_CLIP.EMBED_DIM = 32
    cfg.MODEL.SEM_SEG_HEAD.CONVS_DIM = cfg.MODEL.SEM_SEG_HEAD.MASK_DIM = 32
    cfg.MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS = 1
    node = cfg.MODEL.MASK_FORMER
    node.HIDDEN_DIM, node.NHEADS, node.DIM_FEEDFORWARD = 32, 4, 64
    node.NUM_OBJECT_QUERIES, node.DEC_LAYERS, node.TRAIN_NUM_POINTS = 20, 4, 256
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, cfg.INPUT.IMAGE_SIZE = 96, 160, 64
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.merge_from_list([item for key, value in overrides.items() for item in (key.replace("__", "."), value)])
    return cfg


def tiny_model(kind: str = "convnext", seed: int = 0, **overrides: Any) -> FCCLIP:
    """A tiny model in eval mode, its weights drawn from ``seed``."""
    torch.manual_seed(seed)
    return build_model(tiny_cfg(kind, **overrides)).eval()


def write_tiny_config(folder: Path, kind: str = "convnext", **overrides: Any) -> Path:
    """Write the tiny config as a YAML file for a command, and return its path."""
    path = folder / f"tiny_{kind}.yaml"
    path.write_text(tiny_cfg(kind, **overrides).dump())
    return path
