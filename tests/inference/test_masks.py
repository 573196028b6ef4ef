"""Masks on the way to the results: bands, probabilities that no processor finds slow, and the largest of them."""

import pytest
import torch
from torch import Tensor

from fcclip.inference.masks import Band, MaskUpsampler, feed_bands, floored_sigmoid, largest
from fcclip.inference.panoptic import PanopticInference
from fcclip.inference.semantic import SemanticInference
from tools import published as reference

PADDED, IMAGE, OUTPUT = (64, 96), (57, 90), (57, 90)
CHUNK = 4 * 30 * 96 * 7
TINY = torch.finfo(torch.float32).tiny


class Recorder:
    """Keeps what it is given."""

    def __init__(self, queries: Tensor | None) -> None:
        self.queries = queries
        self.bands: list[Band] = []

    def update(self, band: Band) -> None:
        self.bands.append(band)

    def result(self) -> list[Band]:
        return self.bands


def steep_masks(queries: int = 30, depth: float = 120.0) -> tuple[Tensor, Tensor]:
    """Class logits (Q, 5), and masks (Q, 16, 24) with logits down to `-depth`, though not all are tiny at any place."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(queries, 16, 24, generator=generator) * -depth
    for query in range(9):
        top, left = 6 * (query // 3), 8 * (query % 3)
        masks[query, top : top + 6, left : left + 8] = 5.0 + query
    masks[9] = -5.0
    return 2 * torch.randn(queries, 5, generator=generator), masks


@pytest.mark.parametrize("chosen", [None, torch.arange(30), torch.tensor([3, 4, 20])])
def test_consumers_get_their_masks_without_subnormal_numbers(chosen: Tensor | None) -> None:
    _, masks = steep_masks()
    first, second = Recorder(chosen), Recorder(None)
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, OUTPUT), [first, second], CHUNK)
    full = reference.full_masks(masks, PADDED, IMAGE, OUTPUT)
    assert (full.sigmoid() < TINY).any()
    logits, probability = (
        torch.cat([getattr(band, name) for band in first.result()], dim=1) for name in ("logits", "probability")
    )
    full = full if chosen is None else full[chosen]
    torch.testing.assert_close(logits, full, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(probability, full.sigmoid(), atol=1e-5, rtol=1e-5)
    assert probability.min() * 1e-8 >= TINY


def test_results_of_steep_masks_are_the_published_ones() -> None:
    logits, masks = steep_masks()
    full = reference.full_masks(masks, PADDED, IMAGE, OUTPUT)
    panoptic = PanopticInference(logits, OUTPUT, {0, 2}, 0.0, 0.1)
    labels = SemanticInference(logits, OUTPUT, CHUNK, labels_only=True)
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, OUTPUT), [panoptic, labels], CHUNK)
    expected_map, expected = reference.panoptic(logits, full, frozenset({0, 2}), 0.0, 0.1)
    assert [segment.as_info() for segment in panoptic.result()[1]] == expected
    assert (panoptic.result()[0] != expected_map).sum() <= 2
    assert (labels.result() != reference.semantic(logits, full).argmax(0)).sum() <= 2


def test_where_all_masks_are_tiny_the_best_of_them_counts() -> None:
    logits = torch.full((2, 3, 4), -80.0)
    logits[1] = -70.0
    assert torch.equal(floored_sigmoid(logits), logits.sigmoid())
    panoptic = PanopticInference(torch.tensor([[9.0, 0], [8.0, 0]]), (3, 4), {0}, 0.0, 0.1)
    panoptic.update(Band(0, 3, logits, logits.clamp(min=-60).sigmoid(), True))
    panoptic.result()
    assert panoptic._winner.eq(1).all()


@pytest.mark.parametrize("count", [1, 7, 100, 107, 256])
def test_the_largest_is_the_first_of_them(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    layers = torch.randint(40, (count, 9, 31), generator=generator).float()
    values, indices = largest(layers)
    assert torch.equal(values, layers.amax(dim=0))
    first = torch.from_numpy(layers.numpy().argmax(axis=0))
    assert torch.equal(indices, first)
