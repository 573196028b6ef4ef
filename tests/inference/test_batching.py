"""Batches of one kind from a stream: order, sizes, and how far the stream is read ahead."""

from collections.abc import Iterator
from itertools import count, islice

import pytest

from fcclip.inference.batching import map_in_batches


def letters_of(batches: list[str], items: Iterator[str] | str, batch_size: int, look_ahead: int = 100) -> Iterator[str]:
    """Pass words on in batches of their first letter, which are noted."""

    def run(batch: list[str]) -> list[str]:
        batches.append(" ".join(batch))
        return batch

    return map_in_batches(run, items, lambda word: word[0], batch_size, look_ahead)


WORDS = ["a1", "b1", "a2", "c1", "a3", "b2", "a4", "a5"]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 50])
@pytest.mark.parametrize("look_ahead", [1, 2, 3, 5, 100])
def test_results_come_in_the_order_of_the_items(batch_size: int, look_ahead: int) -> None:
    batches: list[str] = []
    assert list(letters_of(batches, iter(WORDS), batch_size, look_ahead)) == WORDS
    assert sorted(word for batch in batches for word in batch.split()) == sorted(WORDS)
    for batch in batches:
        assert len({word[0] for word in batch.split()}) == 1
        assert len(batch.split()) <= batch_size


def test_batches_are_full_where_the_kinds_allow() -> None:
    batches: list[str] = []
    list(letters_of(batches, iter(WORDS), batch_size=2))
    assert sorted(batches) == ["a1 a2", "a3 a4", "a5", "b1 b2", "c1"]


def test_no_more_is_held_than_allowed() -> None:
    """Only the first item is of its kind, so that everything after it would have to wait for ever."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        for number in count():
            read += 1
            yield "z" if number == 0 else f"{'ab'[number % 2]}{number}"

    batches: list[str] = []
    for taken, word in enumerate(islice(letters_of(batches, endless(), 4, look_ahead=6), 40)):
        assert read - taken <= 6
        assert word == "z" if taken == 0 else word.endswith(str(taken))
    assert "z" in batches


def test_a_batch_of_one_waits_for_nothing() -> None:
    read: list[str] = []
    stream = letters_of([], (read.append(word) or word for word in WORDS), batch_size=1)
    assert next(stream) == "a1"
    assert read == ["a1"]


def test_results_before_a_failure_are_given_first() -> None:
    def failing() -> Iterator[str]:
        yield from ("a1", "b1")
        raise ValueError("cannot be read")

    stream = letters_of([], failing(), batch_size=4)
    assert [next(stream), next(stream)] == ["a1", "b1"]
    with pytest.raises(ValueError, match="cannot be read"):
        next(stream)


def test_an_error_of_a_batch_ends_it() -> None:
    def run(batch: list[int]) -> list[int]:
        raise MemoryError

    with pytest.raises(MemoryError):
        list(map_in_batches(run, [1, 2], lambda item: 0, batch_size=1, look_ahead=4))
    assert list(map_in_batches(run, [], lambda item: 0, batch_size=1, look_ahead=4)) == []
