"""Mask logits at the size of the image, a band of rows at a time.

A model's masks are four times smaller than its input, and there are hundreds of them: upsampled at once they are the
largest tensor of the whole system. Everything that follows works on single pixels, so it can work on bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.inference.bands import Size, bands
from fcclip.inference.least_numbers import CERTAIN_LOGIT, LEAST_LOGIT

GROUP = 8  # layers
LAYERS_WORTH_GROUPING = 100


@dataclass(frozen=True)
class Band:
    """Rows of upsampled masks, or of those that are chosen.

    Attributes:
        start, stop: the rows.
        all_logits: (Q, rows, width).
        all_probabilities: their sigmoid.
        is_floored: whether that may be `floored_sigmoid`.
        chosen: ascending indices of masks; None for all.
    """

    start: int
    stop: int
    all_logits: Tensor
    all_probabilities: Tensor
    is_floored: bool
    chosen: Tensor | None = None

    @cached_property
    def logits(self) -> Tensor:
        """(queries, rows, width)."""
        return self.all_logits if self.chosen is None else self.all_logits.index_select(0, self.chosen)

    @cached_property
    def probability(self) -> Tensor:
        """(queries, rows, width), not to be written to."""
        return self.all_probabilities if self.chosen is None else self.all_probabilities.index_select(0, self.chosen)


class BandConsumer(Protocol):
    """Builds a result from bands of upsampled masks."""

    @property
    def queries(self) -> Tensor | None:
        """Ascending indices of the masks it needs; None for all of them."""

    def update(self, band: Band) -> None:
        """Take the next rows of its masks."""

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
    def have_tiny(self) -> bool:
        """Whether the sigmoid of some mask would be so small that it slows a CPU down."""
        masks = self._masks
        return masks.device.type == "cpu" and masks.numel() > 0 and masks.min().item() < LEAST_LOGIT

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
        weights, masks = weights[:, first:last].to(self._masks.device), self._masks[:, first:last]
        if last - first < stop - start:  # columns first, as there are fewer rows before
            return weights @ self._resize_columns(masks)
        return self._resize_columns(weights @ masks)

    def _resize_columns(self, masks: Tensor) -> Tensor:
        return resize_columns(resize_columns(masks, self._padded[1])[..., : self._image[1]], self.output[1])


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
    positions = [_positions(consumer.queries, needed, len(masks)) for consumer in consumers]
    has_tiny = masks.have_tiny
    for start, stop in bands(masks.widest, len(masks), chunk_bytes):
        logits = masks.band(start, stop)
        probability = floored_sigmoid(logits) if has_tiny else logits.sigmoid()
        for consumer, chosen in zip(consumers, positions, strict=True):
            if chosen is None or len(chosen):
                consumer.update(Band(start, stop, logits, probability, has_tiny, chosen))


def floored_sigmoid(logits: Tensor) -> Tensor:
    """The sigmoid of mask logits (Q, rows, width), and of those below `LEAST_LOGIT` that of it.

    The exact sigmoid if at some pixel no mask reaches `CERTAIN_LOGIT`, where the best one is among the smallest.
    """
    if logits.device.type != "cpu" or logits.amax(dim=0).min() < CERTAIN_LOGIT:
        return logits.sigmoid()
    return logits.clamp(min=LEAST_LOGIT).sigmoid_()


def largest(layers: Tensor) -> tuple[Tensor, Tensor]:
    """The largest of (n, ...) at each place, and the first of the layers that has it; n must not be 0.

    On a CPU the largest of a few layers is found first, and which of them it is afterwards: comparing without indices
    is several times as fast.
    """
    count = len(layers)
    if layers.device.type != "cpu" or count < LAYERS_WORTH_GROUPING:
        values, indices = layers.max(dim=0)  # faster than argmax
        return values, indices
    flat = layers.flatten(1)
    whole = count // GROUP * GROUP
    heads = flat[:whole].unflatten(0, (-1, GROUP)).amax(dim=1)
    if whole < count:
        heads = torch.cat([heads, flat[whole:].amax(dim=0, keepdim=True)])
    values, group = heads.max(dim=0)
    first = group * GROUP
    members = (first + torch.arange(GROUP)[:, None]).clamp_(max=count - 1)
    indices = first + flat.gather(0, members).max(dim=0).indices
    return values.view(layers.shape[1:]), indices.view(layers.shape[1:])


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


def _positions(queries: Tensor | None, needed: Tensor | None, count: int) -> Tensor | None:
    """Where a consumer's queries lie among the `count` needed ones; None if they are the same."""
    if queries is None or len(queries) == count:
        return None
    return queries if needed is None else torch.searchsorted(needed, queries)
