"""ConvNeXt's blocks on a CPU: what follows the convolution goes through in pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.layers.mlp import Mlp
from timm.models.convnext import ConvNeXtBlock
from torch import Tensor, nn

PIXELS = 1024  # whose hidden layer, four times as wide as the block, fits the caches


def run_stage(stage: Any, x: Tensor) -> Tensor:
    """A stage of timm's ConvNeXt, (B, C, H, W) -> (B, C', H', W').

    Without gradients on a CPU, blocks go through in pieces; the features are those of the stage itself up to the order
    of sums in its convolutions. Elsewhere, and where a block is of an unusual kind, it is the stage itself.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return stage(x)
    if stage.grad_checkpointing or not all(_is_usual(block) for block in stage.blocks):
        return stage(x)
    x = stage.downsample(x.contiguous(memory_format=torch.channels_last))
    for block in stage.blocks:
        x = _run_block(block, x.contiguous(memory_format=torch.channels_last))
    return x


@contextmanager
def folded_scales(model: nn.Module) -> Iterator[None]:
    """Within, the scale of a block's branch is a part of its last product: the same features but for rounding."""
    blocks: list[Any] = [module for module in model.modules() if isinstance(module, ConvNeXtBlock)]
    before = [(block, block.gamma, block.mlp.fc2.weight, block.mlp.fc2.bias) for block in blocks]
    try:
        for block, gamma, weight, bias in before:
            if gamma is None or bias is None:
                continue
            scale = gamma.detach()
            block.mlp.fc2.weight = nn.Parameter(weight.detach() * scale.reshape(-1, *[1] * (weight.ndim - 1)))
            block.mlp.fc2.bias = nn.Parameter(bias.detach() * scale)
            block.gamma = None
        yield
    finally:
        for block, gamma, weight, bias in before:
            block.gamma, block.mlp.fc2.weight, block.mlp.fc2.bias = gamma, weight, bias


def _is_usual(block: Any) -> bool:
    """Whether `_run_block` computes what a block does: a residual of its own size, and nothing dropped."""
    return (
        type(block) is ConvNeXtBlock
        and not block.use_conv_mlp
        and type(block.mlp) is Mlp
        and block.gamma is not None
        and isinstance(block.shortcut, nn.Identity)
        and not block.training
    )


def _run_block(block: Any, x: Tensor) -> Tensor:
    """One block on (B, C, H, W), its channels last in memory as those of the result."""
    before = x.permute(0, 2, 3, 1)
    result = block.conv_dw(x).permute(0, 2, 3, 1).contiguous()
    for rows, shortcut in zip(_pieces(result), _pieces(before), strict=True):
        torch.addcmul(shortcut, block.mlp(block.norm(rows)), block.gamma, out=rows)
    return result.permute(0, 3, 1, 2)


def _pieces(x: Tensor) -> tuple[Tensor, ...]:
    """The pixels of (B, H, W, C) in pieces (n, C), which share its memory."""
    return x.flatten(0, 2).split(PIXELS)
