"""Ids of objects: going on, returning, and never twice."""

import pytest
import torch

from fcclip.inference.tracking.tracks import STUFF_OFFSET, Sighting, TrackBook, TrackOptions, stuff_track

CAT, DOG = 0, 1


def sight(direction: int, category: int = CAT, slot: int = 0, tilt: float = 0.0) -> Sighting:
    """An object whose embedding points along an axis, tilted a little towards the next."""
    embedding = torch.zeros(8)
    embedding[direction], embedding[(direction + 1) % 8] = 1.0, tilt
    return Sighting(category, slot, embedding)


def ids(book: TrackBook, *sightings: Sighting) -> list[int]:
    return [track.id for track in book.assign(sightings)]


def test_objects_keep_their_ids_whatever_their_order_and_class():
    book = TrackBook()
    assert ids(book, sight(0), sight(3)) == [1, 2]
    assert ids(book, sight(3, tilt=0.3), sight(0, DOG, tilt=0.3)) == [2, 1]


def test_an_object_that_is_near_no_track_is_new():
    book = TrackBook()
    ids(book, sight(0))
    assert ids(book, sight(0), sight(3)) == [1, 2]


def test_one_that_was_hidden_is_recognised():
    book = TrackBook()
    ids(book, sight(0), sight(3))
    for _ in range(9):
        assert ids(book, sight(3)) == [2]
    assert ids(book, sight(3), sight(0, tilt=0.5)) == [2, 1]


def test_a_stranger_of_another_class_or_between_two_tracks_is_not_taken_for_one_that_left():
    book = TrackBook()
    ids(book, sight(0), sight(1))
    for _ in range(4):
        ids(book)
    assert ids(book, sight(0, DOG)) == [3]
    assert ids(book, sight(0, DOG), sight(0, CAT, tilt=0.95)) == [3, 4]


def test_a_new_shot_has_new_objects_and_the_old_shot_its_old_ones():
    book = TrackBook()
    assert ids(book, sight(0), sight(3)) == [1, 2]
    book.begin_shot()
    assert ids(book, sight(5)) == [3]
    book.begin_shot()
    assert ids(book, sight(3), sight(0)) == [2, 1]


def test_in_a_new_shot_the_likeness_that_lets_a_track_go_on_is_not_enough():
    for cut, expected in ((False, [1]), (True, [2])):
        book = TrackBook()
        ids(book, sight(0))
        if cut:
            book.begin_shot()
        assert ids(book, sight(0, tilt=1.5)) == expected  # cosine 0.55


def test_of_equals_the_one_in_its_slot_goes_on():
    book = TrackBook()
    assert ids(book, sight(0, slot=4), sight(0, slot=7)) == [1, 2]
    assert ids(book, sight(0, slot=7), sight(0, slot=4)) == [2, 1]


def test_the_book_does_not_grow_and_ids_are_not_used_again():
    book = TrackBook(TrackOptions(max_tracks=3))
    seen = [ids(book, sight(frame % 8, slot=frame)) for frame in range(0, 80, 2) for _ in range(1)]
    assert len(book._tracks) == 3
    assert [id_ for [id_] in seen] == list(range(1, 41))


def test_a_track_knows_when_it_was_seen_and_what_it_was_mostly_called():
    book = TrackBook()
    for category in (DOG, CAT, CAT):
        [track] = book.assign([sight(0, category)])
    assert (track.first_frame, track.last_frame, track.hits, track.category_id) == (0, 2, 3, CAT)
    [_, second] = book.assign([sight(0), sight(3, DOG)])
    assert (track.rank, second.rank) == (0, 1)  # both were dogs when they came


@pytest.mark.parametrize("category", [0, 105])
def test_stuff_has_one_id_per_class(category):
    assert stuff_track(category) == STUFF_OFFSET + 1 + category < 1 << 24
