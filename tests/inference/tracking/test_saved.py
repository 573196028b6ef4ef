"""A stream that goes on from a saved state is the same as one that was never interrupted."""

import pytest
import torch

from fcclip.inference.tracking.saved import StreamState
from fcclip.inference.tracking.tracker import StreamTracker, TrackerOptions
from fcclip.inference.tracking.tracks import TrackBook
from tests.inference.tracking.test_tracker import frame, objects
from tests.inference.tracking.test_tracks import CAT, DOG, ids, sight


def test_a_tracker_goes_on_through_cuts_and_cleared_slots():
    options = TrackerOptions(look_ahead=2, keep=4)
    void = torch.tensor([[-9.0, -9.0, -0.001]] * 6)
    frames = [
        frame(number, objects(number // 6), log_probabilities=None if number < 6 else void) for number in range(12)
    ]
    tracker = StreamTracker(options)
    whole = [voted for item in frames for voted in tracker.push(item)] + tracker.end_shot()
    for number, voted in enumerate(whole[:-1]):
        saved = StreamState(voted.state, TrackBook().state()).to_bytes()
        other = StreamTracker(options)
        other.go_on(StreamState.from_bytes(saved).tracker)
        rest = [found for item in frames[number + 1 :] for found in other.push(item)] + other.end_shot()
        assert len(rest) == len(whole) - number - 1
        for found, expected in zip(rest, whole[number + 1 :], strict=True):
            assert found.payload[0] == expected.payload[0]
            assert torch.equal(found.log_probabilities, expected.log_probabilities)
            assert torch.equal(found.slots, expected.slots)
            assert found.begins_shot == expected.begins_shot


def test_a_book_of_tracks_goes_on():
    def more(book: TrackBook) -> list[list[int]]:
        book.begin_shot()
        return [ids(book, sight(3), sight(5), sight(0, DOG, tilt=0.3)), ids(book, sight(0, CAT)), ids(book, sight(6))]

    book = TrackBook()
    for tilt in (0.0, 0.1, 0.2):
        ids(book, sight(0, tilt=tilt), sight(3, DOG))
    state = book.state()
    other = TrackBook()
    other.go_on(state)
    assert more(other) == more(book)


def test_an_empty_book():
    book = TrackBook()
    book.go_on(TrackBook().state())
    assert ids(book, sight(0)) == [1]


@pytest.mark.parametrize("data", [b"", b"no tensors", b"\x80\x04cos\nsystem\n"])
def test_other_bytes_are_refused(data):
    with pytest.raises(ValueError, match="not the state of a stream"):
        StreamState.from_bytes(data)
