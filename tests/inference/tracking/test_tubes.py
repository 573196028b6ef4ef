"""Tubes against the recorded results of MinVIS_OV, from the outputs of its head on."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from fcclip.inference.tracking.matching import SlotMatcher
from fcclip.inference.tracking.tubes import FrameSize, InstanceTubes, PanopticTubes, SemanticTubes
from fcclip.inference.tracking.votes import Votes
from tests.shared import SHARED, needs_shared

SIZE = FrameSize(padded=(96, 128), image=(90, 118), output=(61, 77))
CHUNKS = [1 << 14, 1 << 26]  # bands of a few rows, and all at once
THRESHOLDS = {"vps": (0.0, 0.8), "vps_loose": (0.3, 0.5)}


@cache
def recorded():
    return torch.load(SHARED / "parity/video/minvis_ov_reference.pt", weights_only=True)


@cache
def aligned(run: str) -> tuple[Tensor, list[Tensor], Tensor]:
    """Voted log-probabilities, masks of each frame in the order of slots, and all permutations but the first."""
    inputs, matcher, votes = recorded()["inputs"], SlotMatcher(), Votes()
    masks, orders = [], []
    frames = zip(inputs["decoder_embeddings"], recorded()[run]["frame_log_probabilities"], inputs["masks"], strict=True)
    for embeddings, log_probabilities, logits in frames:
        order = matcher.match(embeddings.float())
        matcher.remember(embeddings.float()[order])
        votes.add(log_probabilities[order])
        masks.append(logits.float()[order])
        orders.append(order)
    return votes.mean(), masks, torch.stack(orders[1:])


def runs(prefix: str) -> list[str]:
    if not SHARED.is_dir():
        return []
    return [
        name
        for name, run in recorded().items()
        if name.startswith(prefix) and isinstance(run, dict) and name != "inputs"
    ]


@needs_shared
@pytest.mark.parametrize("run", runs("v"))
def test_matching_and_votes_equal_the_recording(run):
    votes, masks, orders = aligned(run)
    expected = recorded()[run]
    assert orders.tolist() == expected["permutations"].tolist()
    torch.testing.assert_close(votes, expected["video_log_probabilities"], atol=1e-5, rtol=0)
    sums = torch.stack([frame.sum(dim=(1, 2)) for frame in masks], dim=1)
    torch.testing.assert_close(sums, expected["video_masks_sum"], atol=1e-2, rtol=1e-5)


@needs_shared
@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize("run", runs("vps"))
def test_panoptic_equals_the_recording(run, chunk_bytes):
    votes, masks, _ = aligned(run)
    expected = recorded()[run]
    thresholds = THRESHOLDS.get(run, (0.0, 0.5))
    tubes = PanopticTubes(votes, SIZE, range(recorded()["inputs"]["things"]), *thresholds, chunk_bytes)
    for frame in masks:
        tubes.add(frame)
    maps, segments = tubes.result()
    assert [segment.as_info() for segment in segments] == expected["segments"]
    assert torch.equal(maps, expected["map"].int())


@needs_shared
@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_semantic_equals_the_recording(chunk_bytes):
    votes, masks, _ = aligned("vss")
    tubes = SemanticTubes(votes, SIZE, chunk_bytes)
    assert torch.equal(torch.stack([tubes.add(frame) for frame in masks]), recorded()["vss"]["map"].long())


@needs_shared
@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize("run", runs("vis"))
def test_instances_equal_the_recording(run, chunk_bytes):
    votes, masks, _ = aligned(run)
    expected = recorded()[run]
    tubes = InstanceTubes(votes, SIZE, chunk_bytes)
    found = torch.stack([tubes.add(frame) for frame in masks], dim=1)

    def rows(scores: Tensor, labels: Tensor, packed: np.ndarray) -> list[tuple[int, float, bytes]]:
        everything = zip(labels.tolist(), scores.tolist(), packed, strict=True)
        return sorted((label, round(score, 5), mask.tobytes()) for label, score, mask in everything)

    ours = rows(tubes.scores, tubes.labels, np.packbits(found.numpy(), axis=-1))
    assert ours == rows(expected["scores"], expected["labels"], expected["masks"].numpy())


def full(*values: float) -> Tensor:
    """Masks (Q, 2, 4): the left half of query 0 and so on have a logit of their own, the right halves another."""
    return torch.tensor(values).view(-1, 1, 2).repeat_interleave(2, dim=2).expand(-1, 2, -1)


def test_areas_are_judged_over_the_whole_tube():
    size = FrameSize((2, 4), (2, 4), (2, 4))
    logits = torch.tensor([[9.0, 0, 0], [0, 8.0, 0], [0, 8.0, 0]])  # a thing, and two queries of one stuff class
    hidden = full(6, 6, 5, 5, -6, -6)  # query 1 is covered wholly by query 0
    alone = full(-6, -6, 5, 5, -6, 5)
    for frames, segments in (([hidden], [0]), ([hidden, alone, alone], [0, 1])):
        tubes = PanopticTubes(logits, size, {0}, 0.0, 0.5, 1 << 20)
        for frame in frames:
            tubes.add(frame)
        maps, found = tubes.result()
        assert [segment.category_id for segment in found] == segments
        assert maps[0].unique().tolist() == [1]
        assert len(maps) == len(frames)
    assert maps[1].unique().tolist() == [2]


def test_stuff_of_one_class_has_one_id():
    size = FrameSize((2, 4), (2, 4), (2, 4))
    tubes = PanopticTubes(torch.tensor([[0, 9.0, 0], [0, 9.0, 0]]), size, {0}, 0.0, 0.5, 1 << 20)
    tubes.add(full(6, -6, -6, 6))
    maps, segments = tubes.result()
    assert [(segment.id, segment.category_id, segment.is_thing) for segment in segments] == [(1, 1, False)]
    assert maps.unique().tolist() == [1]


def test_nothing_but_void():
    size = FrameSize((2, 4), (2, 4), (3, 5))
    tubes = PanopticTubes(torch.tensor([[0, 9.0]]), size, {0}, 0.0, 0.5, 1 << 20)
    tubes.add(full(6, 6))
    maps, segments = tubes.result()
    assert (maps.shape, int(maps.max()), segments) == ((1, 3, 5), 0, [])


def test_fewer_pairs_than_instances_are_asked_for():
    tubes = InstanceTubes(torch.zeros(1, 3), FrameSize((2, 4), (2, 4), (2, 4)), 1 << 20)
    assert tubes.add(full(1, -1)).sum(dim=(1, 2)).tolist() == [4, 4]
