"""Trading bits for speed: the image tower and the decoders in half precision, off unless asked for."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from torch import nn

from fcclip.dtypes import dtype_of_key
from fcclip.meta_arch.fcclip import FCCLIP

FAST_OPTIONS = ("MODEL.FC_CLIP.INFERENCE_DTYPE", "bfloat16", "MODEL.FC_CLIP.CHANNELS_LAST", "True")


def accelerate(model: nn.Module, cfg: CfgNode) -> None:
    """Make a model, its weights loaded, as fast as MODEL.FC_CLIP.INFERENCE_DTYPE and CHANNELS_LAST allow.

    The image tower is converted for good, which also halves its memory. The decoders compute in that precision where it
    does no harm: masks, class scores and everything that is compared with a threshold stay float32.

    Raises:
        ValueError: if the type is unknown, or the device cannot compute in it, or the model is not an FC-CLIP.
    """
    node = cfg.MODEL.FC_CLIP
    if node.INFERENCE_DTYPE == "float32" and not node.CHANNELS_LAST:
        return
    if not isinstance(model, FCCLIP):
        raise ValueError(f"{type(model).__name__} computes in float32 only; leave MODEL.FC_CLIP.INFERENCE_DTYPE alone")
    dtype = dtype_of_key("MODEL.FC_CLIP.INFERENCE_DTYPE", node.INFERENCE_DTYPE)
    if dtype == torch.float16 and model.device.type == "cpu":
        raise ValueError("float16 is for GPUs; set MODEL.FC_CLIP.INFERENCE_DTYPE bfloat16 on a CPU")
    model.backbone.convert_image_tower(dtype, channels_last=node.CHANNELS_LAST)
    model.decoder_dtype = dtype
    model.sem_seg_head.pixel_decoder.allow_autocast = True
