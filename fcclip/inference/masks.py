"""Mask logits at the size of the image, a band of rows at a time.

A model's masks are four times smaller than its input, and there are hundreds of them: upsampled at once they are the
largest tensor of the whole system. Everything that follows works on single pixels, so it can work on bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.inference.bands import Size, bands


class BandConsumer(Protocol):
    """Builds a result from bands of upsampled masks."""

    @property
    def queries(self) -> Tensor | None:
        """Ascending indices of the masks it needs; None for all of them."""

    def update(self, start: int, stop: int, logits: Tensor, probability: Tensor) -> None:
        """Take rows `start` to `stop` of its masks: logits and their sigmoid, (queries, rows, width)."""

    def result(self) -> Any:
        """What it has built, once it has had all rows."""


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
        rows = resize_matrix(masks.shape[-2], padded[0])[: image[0]]
        self._rows = rows if output[0] == image[0] else resize_matrix(image[0], output[0]) @ rows

    def __len__(self) -> int:
        return len(self._masks)

    @property
    def widest(self) -> Size:
        """Height of the output, and the largest width that masks have on their way to it."""
        return self.output[0], max(self._padded[1], self.output[1])

    def select(self, queries: Tensor) -> MaskUpsampler:
        """The same for some of the masks."""
        return MaskUpsampler(self._masks[queries], self._padded, self._image, self.output)

    def band(self, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the upsampled masks: (Q, rows, width) logits."""
        weights = self._rows[start:stop]
        first, last = support(weights)
        band = weights[:, first:last].to(self._masks.device) @ self._masks[:, first:last]
        band = resize_columns(band, self._padded[1])[..., : self._image[1]]
        return resize_columns(band, self.output[1])


def feed_bands(masks: MaskUpsampler, consumers: Sequence[BandConsumer], chunk_bytes: int) -> None:
    """Upsample every mask that is needed once, band by band, and give each consumer its share.

    Args:
        masks: all of them.
        consumers: read only the bands.
        chunk_bytes: see `bands`.
    """
    needed = _union([consumer.queries for consumer in consumers])
    if needed is not None:
        masks = masks.select(needed)
    positions = [_positions(consumer.queries, needed) for consumer in consumers]
    for start, stop in bands(masks.widest, len(masks), chunk_bytes):
        logits = masks.band(start, stop)
        probability = logits.sigmoid()
        for consumer, chosen in zip(consumers, positions, strict=True):
            if chosen is None:
                consumer.update(start, stop, logits, probability)
            elif len(chosen):
                consumer.update(start, stop, logits[chosen], probability[chosen])


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is cached may later be used outside of it
def resize_matrix(source: int, target: int) -> Tensor:
    """PyTorch's bilinear resize of one axis as a matrix (target, source), read off the operation itself; on the CPU."""
    return F.interpolate(torch.eye(source).T[None], size=target, mode="linear", align_corners=False)[0].T


def support(weights: Tensor) -> tuple[int, int]:
    """First and one past the last column of a matrix in which a row has a weight."""
    columns = weights.any(dim=0).nonzero()
    return int(columns[0]), int(columns[-1]) + 1


def resize_columns(maps: Tensor, width: int) -> Tensor:
    """Resize the last axis of (N, h, w) linearly, as PyTorch's bilinear resize does."""
    if maps.shape[-1] == width:
        return maps
    return F.interpolate(maps, size=width, mode="linear", align_corners=False)


def _union(sets: Sequence[Tensor | None]) -> Tensor | None:
    given = [queries for queries in sets if queries is not None]
    if len(given) < len(sets) or not given:
        return None
    return torch.cat(given).unique()


def _positions(queries: Tensor | None, needed: Tensor | None) -> Tensor | None:
    """Where a consumer's queries lie among the needed ones; None if they are the same."""
    if queries is None or needed is None:
        return queries
    return None if len(queries) == len(needed) else torch.searchsorted(needed, queries)
