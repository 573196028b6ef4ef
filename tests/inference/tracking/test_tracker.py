"""Slots, votes, look-ahead and cuts of a stream of made-up frames."""

import pytest
import torch
from torch import Tensor

from fcclip.inference.tracking.matching import SlotMatcher
from fcclip.inference.tracking.tracker import StreamTracker, TrackedFrame, TrackerOptions, VotedFrame
from fcclip.inference.tracking.votes import Votes

QUERIES, WIDTH, CLASSES = 6, 16, 3


def objects(seed: int) -> Tensor:
    return torch.randn(QUERIES, WIDTH, generator=torch.Generator().manual_seed(seed))


def frame(number: int, things: Tensor, size: object = (4, 4), log_probabilities: Tensor | None = None) -> TrackedFrame:
    """The objects as they are seen in a frame: a little changed, in random order, which is the payload."""
    generator = torch.Generator().manual_seed(1000 + number)
    order = torch.randperm(QUERIES, generator=generator)  # object of each query
    seen = things[order] + 0.05 * torch.randn(QUERIES, WIDTH, generator=generator)
    if log_probabilities is None:
        log_probabilities = torch.randn(QUERIES, CLASSES, generator=generator).log_softmax(-1)
    return TrackedFrame(seen, log_probabilities[order], size, (number, order))


def run(tracker: StreamTracker, frames: list[TrackedFrame]) -> list[VotedFrame]:
    return [voted for item in frames for voted in tracker.push(item)] + tracker.end_shot()


def objects_of_slots(voted: VotedFrame) -> list[int]:
    """Which object is in each slot."""
    _, order = voted.payload
    return order[voted.slots.argsort()].tolist()


@pytest.mark.parametrize("look_ahead", [0, 1, 4])
def test_votes_are_those_of_the_past_and_a_few_frames_ahead(look_ahead):
    frames = [frame(number, objects(0)) for number in range(7)]
    voted = run(StreamTracker(TrackerOptions(look_ahead)), frames)
    assert [item.payload[0] for item in voted] == list(range(7))
    assert len({tuple(objects_of_slots(item)) for item in voted}) == 1
    for number, item in enumerate(voted):
        counted = frames[: number + look_ahead + 1]
        of_object = torch.stack([f.log_probabilities[f.payload[1].argsort()] for f in counted]).mean(dim=0)
        torch.testing.assert_close(item.log_probabilities, of_object[item.payload[1]])


def test_the_last_frame_is_minvis():
    """With a memory of one frame, the votes at the end of a video are those of MinVIS_OV."""
    frames = [frame(number, objects(0)) for number in range(6)]
    last = run(StreamTracker(TrackerOptions(memory_frames=1, memory_votes=1)), frames)[-1]
    matcher, votes = SlotMatcher(), Votes()
    for item in frames:
        order = matcher.match(item.embeddings)
        matcher.remember(item.embeddings[order])
        votes.add(item.log_probabilities[order])
    torch.testing.assert_close(last.log_probabilities, votes.mean()[last.slots])


def test_frames_are_held_only_for_the_look_ahead():
    tracker = StreamTracker(TrackerOptions(look_ahead=2))
    counts = [len(tracker.push(frame(number, objects(0)))) for number in range(200)]
    assert counts == [0, 0] + [1] * 198
    assert len(tracker.end_shot()) == 2


@pytest.mark.parametrize("how", ["cut", "size", "end_shot"])
def test_a_new_shot_has_votes_of_its_own(how):
    tracker = StreamTracker(TrackerOptions(look_ahead=3))
    before = [frame(number, objects(0)) for number in range(5)]
    things, size = (objects(1), (4, 4)) if how == "cut" else (objects(0), (8, 8) if how == "size" else (4, 4))
    after = [frame(number, things, size) for number in range(5, 9)]
    voted = [item for f in before for item in tracker.push(f)]
    if how == "end_shot":
        voted += tracker.end_shot()
    voted += [item for f in after for item in tracker.push(f)] + tracker.end_shot()
    assert [item.payload[0] for item in voted] == list(range(9))
    assert [item.payload[0] for item in voted if item.begins_shot] == [0, 5]
    mean = torch.stack([f.log_probabilities[f.payload[1].argsort()] for f in before]).mean(dim=0)
    torch.testing.assert_close(voted[4].log_probabilities, mean[voted[4].payload[1]])
    assert voted[5].slots.tolist() == list(range(QUERIES))


def test_a_slot_that_was_void_for_long_forgets_its_votes():
    cat, void = (torch.tensor([p]).log() for p in ([0.98, 0.01, 0.01], [0.01, 0.01, 0.98]))
    others = cat.expand(QUERIES - 1, CLASSES)
    tracker = StreamTracker(TrackerOptions(look_ahead=0, keep=4))
    shown = [frame(n, objects(0), log_probabilities=torch.cat([cat, others])) for n in range(20)]
    gone = [frame(n, objects(0), log_probabilities=torch.cat([void, others])) for n in range(20, 24)]
    last = run(tracker, shown + gone)[-1]
    first_object = int((last.payload[1] == 0).nonzero())
    torch.testing.assert_close(last.log_probabilities[first_object], void[0])


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="0 for a camera"):
        TrackerOptions(look_ahead=-1)
    with pytest.raises(ValueError, match="must be less than"):
        TrackerOptions(look_ahead=30)
