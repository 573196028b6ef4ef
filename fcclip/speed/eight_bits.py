"""Image towers whose products are in 8 bits, for processors that are fast in these and not in half precision."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from fcclip.clip.backbone import CLIP
from fcclip.files.processor import multiplies_in_8_bits

logger = logging.getLogger(__name__)

ENGINE = "onednn"  # twice as fast as the others where a layer is narrow
LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer on a CPU: weights in 8 bits with a scale for each output, inputs in 8 bits with a range per call.

    Args:
        layer: what it stands for; a convolution of single pixels is a linear layer over the channels.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self._channels_first = isinstance(layer, nn.Conv2d)
        weight = layer.weight.detach().float().flatten(1)
        scales = (weight.abs().amax(dim=1) / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        with warnings.catch_warnings():
            # From PyTorch 2.14 on. Nothing else that it has makes the weights which its product in 8 bits takes.
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
            rounded = torch.quantize_per_channel(weight, scales, zeros, axis=0, dtype=torch.qint8)
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = ENGINE
        try:
            self._packed = torch.ops.quantized.linear_prepack(rounded, layer.bias)
        finally:
            torch.backends.quantized.engine = before

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) float32 -> (..., outputs) float32; for a convolution (B, inputs, H, W)."""
        if self._channels_first:
            x = x.permute(0, 2, 3, 1)
        result: Tensor = torch.ops.quantized.linear_dynamic(x, self._packed)
        return result.permute(0, 3, 1, 2) if self._channels_first else result


def convert_to_8_bits(backbone: CLIP) -> None:
    """Let the linear layers of a ConvNeXt's blocks multiply in 8 bits, for good; everything else stays float32.

    A CLIP ResNet has none, and stays as it is.

    Raises:
        ValueError: the processor has no products in 8 bits, or the model is not on it.
    """
    if not multiplies_in_8_bits() or next(backbone.parameters()).device.type != "cpu":
        raise ValueError(
            "8 bits are for CPUs with AVX-512 VNNI, and the model is not on one; leave MODEL.FC_CLIP.INFERENCE_DTYPE "
            "at float32, or set bfloat16 on a GPU"
        )
    visual: Any = backbone.clip_model.visual
    if not hasattr(visual, "trunk"):
        logger.warning("%s has no linear layers in its blocks, so that all of it stays float32", backbone.model_name)
        return
    for stage in visual.trunk.stages:
        for block in stage.blocks:
            block.mlp.fc1, block.mlp.fc2 = Int8Linear(block.mlp.fc1), Int8Linear(block.mlp.fc2)
