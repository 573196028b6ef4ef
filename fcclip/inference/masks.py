"""Mask logits at the size of the image, a band of rows at a time.

A model's masks are four times smaller than its input, and there are hundreds of them: upsampled at once they are the
largest tensor of the whole system. Everything that follows works on single pixels, so it can work on bands.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
BAND_BYTES = 128 * 2**20  # of upsampled masks or class scores held at a time


class MaskUpsampler:
    """Upsamples masks as the published system does: to the padded input, cropped, then to the output size.

    Both steps are linear and act on rows and columns separately. The two row steps are composed into one banded matrix;
    columns go through PyTorch's own resize, twice where the output is not the input's size.

    Args:
        masks: (Q, h, w) logits for the padded input.
        padded: height and width of the padded input.
        image: its part that is the image.
        output: size of the result.
    """

    def __init__(self, masks: Tensor, padded: Size, image: Size, output: Size) -> None:
        self._masks = masks.float()
        self._padded, self._image, self.output = padded, image, output
        rows = resize_matrix(masks.shape[-2], padded[0], masks.device)[: image[0]]
        if output[0] != image[0]:
            rows = resize_matrix(image[0], output[0], masks.device) @ rows
        self._rows = rows

    def band(self, start: int, stop: int, queries: Tensor | None = None) -> Tensor:
        """Rows ``start`` to ``stop`` of the masks of ``queries`` (all by default): (Q, rows, width) logits."""
        masks = self._masks if queries is None else self._masks[queries]
        weights = self._rows[start:stop]
        first, last = _support(weights)
        band = weights[:, first:last] @ masks[:, first:last]
        band = _resize_columns(band, self._padded[1])[..., : self._image[1]]
        return _resize_columns(band, self.output[1])


def bands(output: Size, layers: int) -> Iterator[tuple[int, int]]:
    """Split the rows of an output into bands of which ``layers`` float32 maps take at most ``BAND_BYTES``.

    No band at all where there are no layers.
    """
    if not layers:
        return
    height, width = output
    rows = max(1, BAND_BYTES // (4 * width * layers))
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is cached may later be used in training
def resize_matrix(source: int, target: int, device: torch.device) -> Tensor:
    """PyTorch's bilinear resize of one axis as a matrix (target, source), read off the operation itself."""
    identity = torch.eye(source, device=device)[None, None]
    return F.interpolate(identity, size=(target, source), mode="bilinear", align_corners=False)[0, 0]


def _support(weights: Tensor) -> tuple[int, int]:
    """First and one past the last column in which a row has a weight."""
    columns = weights.any(dim=0).nonzero()
    return int(columns[0]), int(columns[-1]) + 1


def _resize_columns(band: Tensor, width: int) -> Tensor:
    if band.shape[-1] == width:
        return band
    return F.interpolate(band[None], size=(band.shape[-2], width), mode="bilinear", align_corners=False)[0]
