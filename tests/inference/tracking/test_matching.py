"""Matching against the recorded permutations of MinVIS and CLIP-VIS."""

from functools import cache

import pytest
import torch

from fcclip.inference.tracking.matching import SlotMatcher, match_queries
from tests.shared import SHARED, needs_shared


@cache
def recorded(name: str):
    return torch.load(SHARED / f"parity/video/{name}_reference.pt", weights_only=True)


@needs_shared
@pytest.mark.parametrize("name", ["small", "random_100x64", "noisy_250x64", "ties"])
def test_match_equals_minvis(name):
    case = recorded("minvis_ov")["matching"][name]
    assert match_queries(case["target"], case["current"]).tolist() == case["permutation"].tolist()


@needs_shared
@pytest.mark.parametrize(("frames", "votes"), [(9, 5), (1, 1), (9, 1), (9, 9), (3, 5)])
def test_votes_equal_clip_vis(frames, votes):
    reference = recorded("clipvis_topk")
    expected = reference[f"frames{frames}_top{votes}"]
    inputs = {name: reference["inputs"][name].float() for name in ("embeddings", "object_logits", "masks", "mask_ious")}
    orders = align(SlotMatcher(frames, votes), inputs["embeddings"])
    assert orders[1:].tolist() == expected["permutations"].tolist()
    for name in ("object_logits", "masks", "mask_ious"):
        aligned = torch.stack([frame[order] for frame, order in zip(inputs[name], orders, strict=True)], dim=1)
        torch.testing.assert_close(aligned, expected[name].float(), atol=1e-5, rtol=0)
        if name == "object_logits":
            torch.testing.assert_close(aligned.mean(dim=1), expected["object_logits_mean"], atol=1e-5, rtol=0)


def align(matcher: SlotMatcher, frames: torch.Tensor) -> torch.Tensor:
    orders = []
    for embeddings in frames:
        orders.append(matcher.match(embeddings))
        matcher.remember(embeddings[orders[-1]])
    return torch.stack(orders)


def shuffled_video(bad_frame: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight frames of ten slowly changing embeddings in random order, one of them noise; and where each object lies."""
    generator = torch.Generator().manual_seed(0)
    objects = torch.randn(10, 16, generator=generator)
    frames, orders = [], []
    for number in range(8):
        order = torch.randperm(10, generator=generator) if number else torch.arange(10)
        seen = objects + 0.1 * torch.randn(10, 16, generator=generator)
        frame = torch.empty_like(seen)
        frame[order] = torch.randn(10, 16, generator=generator) if number == bad_frame else seen
        frames.append(frame)
        orders.append(order)
    return torch.stack(frames), torch.stack(orders)


def test_objects_are_followed():
    frames, orders = shuffled_video(bad_frame=None)
    assert align(SlotMatcher(), frames).tolist() == orders.tolist()


def test_votes_survive_a_bad_frame_that_ends_plain_matching():
    frames, orders = shuffled_video(bad_frame=4)
    assert align(SlotMatcher(frames=9, votes=3), frames)[5:].tolist() == orders[5:].tolist()
    assert align(SlotMatcher(), frames)[5:].tolist() != orders[5:].tolist()


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_embeddings_that_cannot_be_matched_are_explained(value):
    frame = torch.eye(3)
    broken = frame.clone()
    broken[1] = value
    with pytest.raises(ValueError, match="zero or not a finite number"):
        match_queries(frame, broken)


def test_similarity_is_that_of_the_last_frame():
    matcher = SlotMatcher()
    assert matcher.similarity(torch.eye(2)) is None
    matcher.remember(torch.eye(2))
    assert matcher.similarity(torch.tensor([[2.0, 0], [1, 0]])) == pytest.approx(0.5)
    matcher.forget()
    assert matcher.match(torch.eye(2)).tolist() == [0, 1]


def test_a_memory_needs_a_frame():
    with pytest.raises(ValueError, match="at least one frame"):
        SlotMatcher(frames=0)
