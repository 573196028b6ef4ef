"""A stem of convolutions for open_clip's ViT, in place of one linear projection of each patch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import nn

# Models of this package that have it; open_clip's descriptions have no word for it.
MODELS_WITH_STEM = frozenset({"panoshapes_vit"})
KERNEL = 3


class ConvolutionalStem(nn.Sequential):
    """Images (B, 3, H, W) to embeddings of their patches (B, D, h, w), by convolutions of stride 2 and one of 1 x 1.

    A small ViT that is trained for an hour finds edges and corners by itself much later than with this stem.

    Args:
        patch: side of a patch in pixels, a power of two.
        width: D.

    Source: Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS 2021.
    """

    def __init__(self, patch: int, width: int) -> None:
        steps = patch.bit_length() - 1
        channels = [3, *(width * 3 // 4 >> step for step in reversed(range(steps)))]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            convolution = nn.Conv2d(before, after, KERNEL, stride=2, padding=KERNEL // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(channels[-1], width, 1))
        self.out_channels, self.kernel_size = width, (patch, patch)


def add_stem(model: Any) -> None:
    """Give a CLIP's ViT the stem, of random weights."""
    visual = model.visual
    visual.conv1 = ConvolutionalStem(visual.conv1.kernel_size[0], visual.conv1.out_channels)
