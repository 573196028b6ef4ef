"""What a model costs: multiply-accumulates of one image, and images a second."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import islice
from math import prod
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from fcclip.meta_arch.zero_shot import ZeroShotModel

BILINEAR_MACS = 4  # a pixel, as fvcore counts them


class _MaskLogits(nn.Module):
    """`ZeroShotModel.mask_logits` as a module of its own."""

    def __init__(self, model: ZeroShotModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        return self.model.mask_logits(images, text)


def count_macs(model: nn.Module, side: int, classes: int) -> dict[str, int]:
    """Multiply-accumulates of one square crop through a ZegCLIP or CascadeCLIP, counted as in their papers.

    The text tower is left out, because text embeddings are made once. PyTorch's fused attention is counted; fvcore
    alone would skip it.

    Args:
        model: in eval mode.
        side: of the crop, in pixels.
        classes: number of names.

    Returns:
        `total`, `backbone`, `head` (the rest), and `published`: the total that the published tools count. Their
        code resizes the upsampled masks once more, to the size that they have.

    Raises:
        ValueError: the model is of another kind.
    """
    if not isinstance(model, ZeroShotModel):
        raise ValueError(f"FLOPs are counted for ZegCLIP and CascadeCLIP, not for {type(model).__name__}")
    images = torch.zeros(1, 3, side, side, device=model.device)
    text = torch.zeros(classes, model.backbone.dim_latent, device=model.device)
    counter = FlopCountAnalysis(_MaskLogits(model), (images, text))
    counter.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    counter.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    total, backbone = counter.total(), counter.by_module()["model.backbone"]
    second_resize = BILINEAR_MACS * classes * side**2
    return {"total": total, "backbone": backbone, "head": total - backbone, "published": total + second_resize}


def measure_fps(model: nn.Module, batches: Iterable[list[dict[str, Any]]], warmup: int, images: int) -> float:
    """Images a second through the whole model: windows, resizing, arg-max.

    Args:
        model: in eval mode.
        batches: of one image each; loading them counts, as published.
        warmup: images before the clock starts.
        images: number of images at which it stops, warm-up included.

    Raises:
        ValueError: there are not more images than those of the warm-up.
    """
    start, measured = 0.0, 0
    with torch.no_grad():
        for index, batch in enumerate(islice(batches, images)):
            if index == warmup:
                _synchronize()
                start = time.perf_counter()
            model(batch)
            measured += index >= warmup
    if not measured:
        raise ValueError(f"there are no more than the {warmup} images of the warm-up; lower it")
    _synchronize()
    return measured / (time.perf_counter() - start)


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Of softmax(Q K^T) V, given as values of a traced graph: (..., L, d), (..., S, d), (..., S, e)."""
    query, key, value = (tensor.type().sizes() for tensor in inputs[:3])
    macs: int = prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    return macs


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
