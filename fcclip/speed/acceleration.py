"""Faster inference that changes bits: half precision, compiled code, CUDA graphs; all off unless asked for."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from torch import nn

from fcclip.clip.backbone import TrainableCLIP
from fcclip.config import dtype_of_key
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.speed.compilation import compile_parts
from fcclip.speed.cuda_graphs import GraphCache
from fcclip.speed.eight_bits import convert_to_8_bits
from fcclip.speed.half_precision import convert_decoders, convert_tower, convert_training_tower


def accelerate(model: nn.Module, cfg: CfgNode) -> None:
    """Make a model, its weights loaded and on its device, as fast as these keys of MODEL.FC_CLIP allow.

    INFERENCE_DTYPE and CHANNELS_LAST convert the image tower for good, which in half precision also halves its memory.
    The decoders compute in that precision where it does no harm: masks, class scores and everything that is compared
    with a threshold stay float32. With int8, for CPUs, so do the decoders. COMPILE is `speed.compilation`,
    CUDA_GRAPHS `speed.cuda_graphs`; the vocabulary may change under both.

    Raises:
        ValueError: if the type is unknown, or the device cannot do it, or the model is not an FC-CLIP.
    """
    node = cfg.MODEL.FC_CLIP
    if node.INFERENCE_DTYPE == "float32" and not (node.CHANNELS_LAST or node.COMPILE or node.CUDA_GRAPHS):
        return
    if not isinstance(model, FCCLIP):
        raise ValueError(
            f"{type(model).__name__} is no FC-CLIP, and computes in float32 only; leave MODEL.FC_CLIP.INFERENCE_DTYPE, "
            "CHANNELS_LAST, COMPILE and CUDA_GRAPHS alone"
        )
    if node.CUDA_GRAPHS and model.device.type != "cuda":
        raise ValueError(f'CUDA graphs are for GPUs, not for "{model.device}"; leave MODEL.FC_CLIP.CUDA_GRAPHS off')
    is_int8 = node.INFERENCE_DTYPE == "int8"
    if node.INFERENCE_DTYPE != "float32" or node.CHANNELS_LAST:
        if is_int8:
            convert_to_8_bits(model.backbone)
        dtype = torch.float32 if is_int8 else dtype_of_key("MODEL.FC_CLIP.INFERENCE_DTYPE", node.INFERENCE_DTYPE)
        if dtype == torch.float16 and model.device.type == "cpu":
            raise ValueError("float16 is for GPUs; set MODEL.FC_CLIP.INFERENCE_DTYPE bfloat16 on a CPU")
        convert_tower(model.backbone, dtype, node.CHANNELS_LAST)
        if dtype != torch.float32:
            convert_decoders(model, dtype)
    if node.COMPILE:
        compile_parts(model, with_tower=not is_int8)
    if node.CUDA_GRAPHS:
        model.decode = GraphCache(model.decode)


def accelerate_training(model: nn.Module, cfg: CfgNode) -> None:
    """Make training steps of a model, its weights loaded and on its device, as fast as MODEL.FC_CLIP allows.

    With TRAINING_TOWER_DTYPE the frozen image tower computes in half precision.

    Raises:
        ValueError: if the type is unknown, or the tower is trained.
    """
    dtype = dtype_of_key("MODEL.FC_CLIP.TRAINING_TOWER_DTYPE", cfg.MODEL.FC_CLIP.TRAINING_TOWER_DTYPE)
    if dtype == torch.float32 or not isinstance(model, FCCLIP):
        return
    if isinstance(model.backbone, TrainableCLIP):
        raise ValueError(
            "TrainableCLIP is trained in float32 or, with SOLVER.AMP.ENABLED, under autocast; leave "
            "MODEL.FC_CLIP.TRAINING_TOWER_DTYPE at float32"
        )
    if any(parameter.requires_grad for parameter in model.backbone.clip_model.visual.parameters()):
        raise ValueError(
            f"{type(model).__name__} trains the image tower; leave MODEL.FC_CLIP.TRAINING_TOWER_DTYPE at float32"
        )
    convert_training_tower(model.backbone, dtype)
