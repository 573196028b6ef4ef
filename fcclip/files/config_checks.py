"""What the values of a configuration may be."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import BACKBONE_REGISTRY, META_ARCH_REGISTRY, SEM_SEG_HEADS_REGISTRY
from detectron2.utils.registry import Registry

from fcclip.files.config_node import ConfigError

DTYPE_NAMES = ("float32", "bfloat16", "float16")

# The keys that choose one of a few ways, and their values. Names that a registry knows are checked by `validate`.
CHOICES = {
    "DATALOADER.SAMPLER_TRAIN": ("TrainingSampler", "RepeatFactorTrainingSampler", "RandomSubsetTrainingSampler"),
    "INPUT.CROP.TYPE": ("relative", "relative_range", "absolute", "absolute_range"),
    "INPUT.DATASET_MAPPER_NAME": (
        "coco_panoptic_lsj",
        "coco_instance_lsj",
        "mask_former_semantic",
        "mask_former_panoptic",
        "mask_former_instance",
        "zero_shot",
        "detectron2",  # its own mapper
    ),
    "INPUT.FORMAT": ("RGB", "BGR"),
    "INPUT.MASK_FORMAT": ("polygon", "bitmask"),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": ("range", "choice"),
    "INPUT.RANDOM_FLIP": ("none", "horizontal", "vertical"),
    "INPUT.RESIZING_TEST": ("pillow", "opencv"),
    "MODEL.FC_CLIP.INFERENCE_DTYPE": (*DTYPE_NAMES, "int8"),
    "MODEL.FC_CLIP.TRAINING_TOWER_DTYPE": DTYPE_NAMES,
    "MODEL.FC_CLIP.VOID_MERGE_MODE": ("coco", "mean", "max"),
    "MODEL.MAFT_PLUS.TRANSFER_FORM": ("", "semantic", "panoptic"),
    "MODEL.MASK_FORMER.TEST.TASK": ("vps", "vis", "vss"),
    "MODEL.SEM_SEG_HEAD.DEFORMABLE_ATTENTION": ("auto", "torch", "native", "triton"),
    "MODEL.SEM_SEG_HEAD.NORM": ("", "BN", "SyncBN", "FrozenBN", "GN", "LN", "nnSyncBN", "naiveSyncBN"),
    "MODEL.ZERO_SHOT.DENSE_PATCHES": ("values", "tokens"),
    "MODEL.ZERO_SHOT.ENCODER": ("prompt_tuned", "fine_tuned", "fixed"),
    "MODEL.ZERO_SHOT.LEVEL_PROJECTION": ("random", "clip"),
    "MODEL.ZERO_SHOT.LOSS": ("nel", "nel_labelled", "softmax"),
    "MODEL.ZERO_SHOT.SETTING": ("inductive", "transductive", "fully_supervised"),
    "MODEL.ZERO_SHOT.TEMPLATES": ("single", "multiple"),
    "SOLVER.AMP.DTYPE": ("float16", "bfloat16"),
    "SOLVER.BEST_CHECKPOINT.MODE": ("max", "min"),
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ("value", "norm", "full_model"),
    "SOLVER.LR_SCHEDULER_NAME": (
        "WarmupMultiStepLR",
        "WarmupCosineLR",
        "WarmupStepWithFixedGammaLR",
        "WarmupPolyLR",
        "WarmupPolyToLeastLR",
    ),
    "SOLVER.OPTIMIZER": ("ADAMW", "SGD"),
    "TEST.PANOPTIC_SCORER": ("memory", "panopticapi"),
}

# Numbers that count or measure something that there must be.
POSITIVE = (
    "INPUT.IMAGE_SIZE",
    "MODEL.FC_CLIP.EMBED_DIM",
    "MODEL.FC_CLIP.TEST_CHUNK_MB",
    "MODEL.FC_CLIP.TEST_CHUNK_MB_GPU",
    "MODEL.MASK_ADAPTER.CHUNK_MB",
    "MODEL.MASK_ADAPTER.NUM_OUTPUT_MAPS",
    "MODEL.MASK_FORMER.DIM_FEEDFORWARD",
    "MODEL.MASK_FORMER.HIDDEN_DIM",
    "MODEL.MASK_FORMER.NHEADS",
    "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES",
    "MODEL.MASK_FORMER.TRAIN_NUM_POINTS",
    "MODEL.SEM_SEG_HEAD.CONVS_DIM",
    "MODEL.SEM_SEG_HEAD.MASK_DIM",
    "MODEL.ZERO_SHOT.CROP_SIZE",
    "MODEL.ZERO_SHOT.DECODER_HEADS",
    "MODEL.ZERO_SHOT.DECODER_LAYERS",
    "MODEL.ZERO_SHOT.STRIDE",
    "SOLVER.ACCUMULATION_STEPS",
    "SOLVER.CHECKPOINT_PERIOD",
    "SOLVER.IMS_PER_BATCH",
    "SOLVER.LOG_PERIOD",
)


def validate(cfg: CfgNode) -> None:
    """Refuse values that no model can be built with; called when all files and options are merged.

    Raises:
        ValueError: a key has a value that cannot be; one sentence with the key and the remedy.
    """
    for name, allowed in CHOICES.items():
        if _value(cfg, name) not in allowed:
            raise ConfigError(f'{name} is "{_value(cfg, name)}"; choose one of {", ".join(allowed)}')
    for name in POSITIVE:
        if _value(cfg, name) < 1:
            raise ConfigError(f"{name} is {_value(cfg, name)}; it must be at least 1")
    _check_pixel_statistics(cfg)
    check_registered("MODEL.META_ARCHITECTURE", cfg.MODEL.META_ARCHITECTURE, META_ARCH_REGISTRY)
    check_registered("MODEL.BACKBONE.NAME", cfg.MODEL.BACKBONE.NAME, BACKBONE_REGISTRY)
    require_device("MODEL.DEVICE", cfg.MODEL.DEVICE)
    if cfg.MODEL.META_ARCHITECTURE in ("FCCLIP", "MAFT_Plus", "MinVIS_OV", "OVRCOAT"):
        _check_mask_generator(cfg)


def require_device(what: str, name: str) -> None:
    """Refuse what is no name of a device.

    Raises:
        ConfigError: it is none; the sentence starts with `what`.
    """
    try:
        torch.device(name)
    except (RuntimeError, ValueError):
        raise ConfigError(f'{what} is "{name[:60]}"; choose cpu, cuda, cuda:1 or mps') from None


def check_registered(key: str, name: str, registry: Registry) -> None:
    """Refuse a name that a registry does not know.

    Raises:
        ConfigError: it does not; names the key and what is known.
    """
    if name not in registry:
        raise ConfigError(f'{key} is "{name}"; choose one of {", ".join(sorted(known for known, _ in registry))}')


def _check_pixel_statistics(cfg: CfgNode) -> None:
    for name in ("MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD"):
        value = _value(cfg, name)
        if len(value) != 3 or not all(isinstance(number, int | float) for number in value):
            raise ConfigError(f"{name} is {value}; it must be three numbers, for red, green and blue")
    if min(cfg.MODEL.PIXEL_STD) <= 0:
        raise ConfigError(f"MODEL.PIXEL_STD is {cfg.MODEL.PIXEL_STD}; its numbers must be above 0")


def _check_mask_generator(cfg: CfgNode) -> None:
    head, mask_former = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER
    check_registered("MODEL.SEM_SEG_HEAD.NAME", head.NAME, SEM_SEG_HEADS_REGISTRY)
    check_registered("MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME", head.PIXEL_DECODER_NAME, SEM_SEG_HEADS_REGISTRY)
    if cfg.MODEL.MASK_ADAPTER.NAME:
        check_registered("MODEL.MASK_ADAPTER.NAME", cfg.MODEL.MASK_ADAPTER.NAME, SEM_SEG_HEADS_REGISTRY)
    if not 0 <= cfg.MODEL.OVRCOAT.CLIP_TRUST_WEIGHT <= 1:
        raise ConfigError(
            f"MODEL.OVRCOAT.CLIP_TRUST_WEIGHT is {cfg.MODEL.OVRCOAT.CLIP_TRUST_WEIGHT}; it must be from 0 to 1"
        )
    if unknown := sorted(set(map(str, cfg.TRAIN.LOSSES)) - {"labels", "masks", "oov_ce"}):
        raise ConfigError(f'TRAIN.LOSSES has "{unknown[0]}"; choose from labels, masks and oov_ce')
    if mask_former.HIDDEN_DIM % mask_former.NHEADS:
        raise ConfigError(
            f"MODEL.MASK_FORMER.HIDDEN_DIM is {mask_former.HIDDEN_DIM}, which is not a multiple of NHEADS, "
            f"{mask_former.NHEADS}"
        )
    levels = ("res2", "res3", "res4", "res5")
    for name in ("MODEL.SEM_SEG_HEAD.IN_FEATURES", "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES"):
        if not _value(cfg, name) or not set(_value(cfg, name)).issubset(levels):
            raise ConfigError(f"{name} is {_value(cfg, name)}; choose from {', '.join(levels)}")
    tasks = mask_former.TEST
    if not (tasks.SEMANTIC_ON or tasks.INSTANCE_ON or tasks.PANOPTIC_ON):
        raise ConfigError(
            "nothing is asked for; set one of MODEL.MASK_FORMER.TEST.SEMANTIC_ON, INSTANCE_ON, PANOPTIC_ON"
        )


def _value(cfg: CfgNode, name: str) -> Any:
    for part in name.split("."):
        cfg = cfg[part]
    return cfg
