"""Image towers and decoders in half precision, put in the place of the exact ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fcclip.clip.backbone import CLIP, ImageTower, image_tower
from fcclip.meta_arch.fcclip import FCCLIP


class ConvertedTower:
    """An image tower whose convolutions compute in another precision or memory layout.

    Args:
        tower: reads the converted weights.
        dtype: their type; images are brought to it, even under autocast to another.
        memory_format: their layout; images are brought to it.
    """

    def __init__(self, tower: ImageTower, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
        self.original = tower
        self._dtype, self._memory_format = dtype, memory_format

    @property
    def channels(self) -> dict[str, int]:
        return self.original.channels

    @property
    def convolutional_part(self) -> Sequence[nn.Module]:
        return self.original.convolutional_part

    def extract_features(self, images: Tensor) -> dict[str, Tensor]:
        with torch.autocast(images.device.type, enabled=False):
            return self.original.extract_features(images.to(dtype=self._dtype, memory_format=self._memory_format))

    def embed_masks(self, dense: Tensor, mask_logits: Tensor) -> Tensor:
        return self.original.embed_masks(dense, mask_logits)


def convert_tower(backbone: CLIP, dtype: torch.dtype, channels_last: bool) -> None:
    """Convert the convolutions of the image tower for good; the head that embeds masks keeps its precision."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    _convert(backbone.tower, dtype, memory_format)
    tower = image_tower(backbone.clip_model.visual, backbone.model_name, memory_format)
    backbone.tower = ConvertedTower(tower, dtype, memory_format)


def convert_training_tower(backbone: CLIP, dtype: torch.dtype) -> None:
    """Let training steps go through a copy of the image tower in half precision and channels last, its fast layout.

    Features come out in the ordinary layout, which the rest of the step has. The weights must have been loaded. A tower
    is no module, so that the copy is in no state dict: checkpoints, fingerprints and evaluations know the original
    weights only, from which a resumed run makes the same copy again. Tensors that are not converted are shared.
    """
    parts = backbone.tower.convolutional_part
    converted = {id(tensor) for part in parts for tensor in (*part.parameters(), *part.buffers())}
    visual = backbone.clip_model.visual
    shared = {id(tensor): tensor for tensor in (*visual.parameters(), *visual.buffers())}
    memo = {key: tensor for key, tensor in shared.items() if key not in converted}
    copied = image_tower(copy.deepcopy(visual, memo), backbone.model_name)
    _convert(copied, dtype, torch.channels_last)
    backbone.training_tower = ConvertedTower(copied, dtype, torch.channels_last)


def convert_decoders(model: FCCLIP, dtype: torch.dtype) -> None:
    """Let the decoders compute under autocast, where it does no harm."""
    model.sem_seg_head.pixel_decoder.allow_autocast = True
    decode = model.sem_seg_head.decode
    model.sem_seg_head.decode = partial(_under_autocast, decode, model.device.type, dtype)


def _under_autocast(function: Callable[..., Any], device_type: str, dtype: torch.dtype, *arguments: Any) -> Any:
    with torch.autocast(device_type, dtype):
        return function(*arguments)


def _convert(tower: ImageTower, dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    for module in tower.convolutional_part:
        module.to(dtype).to(memory_format=memory_format)
