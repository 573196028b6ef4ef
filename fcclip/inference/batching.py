"""Going through a stream in batches of items that are alike, with the results in the order of the stream."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
OnError: TypeAlias = Callable[[int, Exception], None]  # is told the place of an item, from 0, and why it failed

LOOK_AHEAD = 4  # batches: enough to sort the upright from the other pictures of a folder


def map_in_batches(
    run: Callable[[list[Item]], Sequence[Result]],
    items: Iterable[Item],
    kind: Callable[[Item], Hashable],
    batch_size: int,
    look_ahead: int | None = None,
) -> Iterator[Result]:
    """Run items in batches of one kind; yield their results in the order of the items.

    A batch runs as soon as it is full, and before that only if results have to wait for one of its items: at the end of
    the stream, or when `look_ahead` items are held. If reading fails, what was read before is run first.

    Args:
        run: a batch -> a result an item.
        items: may be endless.
        kind: what the items of a batch have in common.
        batch_size: the most items of a batch.
        look_ahead: the most items that have been read while their results have not been yielded; four batches by
            default.
    """
    if look_ahead is None:
        look_ahead = LOOK_AHEAD * batch_size
    queue = _Queue(run, kind, batch_size)
    failures: list[Exception] = []
    for item in _until_failure(items, failures):
        queue.put(item)
        if queue.held >= look_ahead:
            queue.run_first()
        yield from queue.take()
    while queue.held:
        queue.run_first()
        yield from queue.take()
    if failures:
        raise failures[0]


def require_batch_size(batch_size: int) -> None:
    """Refuse what is no number of items.

    Raises:
        ValueError: it is no whole number, or less than 1.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is a whole number, at least 1, not {batch_size}")


@dataclass(frozen=True)
class Failure:
    """Stands for the result of an item that has none."""

    error: Exception


def tell_failures(results: Iterable[Result | Failure], on_error: OnError | None) -> Iterator[Result | None]:
    """The results, None where there is none; failures are told, or raised if there is nobody to tell."""
    for place, result in enumerate(results):
        if not isinstance(result, Failure):
            yield result
        elif on_error is None:
            raise result.error
        else:
            on_error(place, result.error)
            yield None


class _Queue(Generic[Item, Result]):
    """Items that wait for others of their kind, and results that wait for earlier ones."""

    def __init__(
        self, run: Callable[[list[Item]], Sequence[Result]], kind: Callable[[Item], Hashable], batch_size: int
    ) -> None:
        self._run, self._kind, self._batch_size = run, kind, batch_size
        self._items: dict[int, Item] = {}  # by their number in the stream, as results are
        self._results: dict[int, Result] = {}
        self._batches: dict[Hashable, list[int]] = {}
        self._first = self._count = 0

    @property
    def held(self) -> int:
        """How many items came whose results were not taken."""
        return self._count - self._first

    def put(self, item: Item) -> None:
        """Add an item; run its batch if that is full."""
        batch = self._batches.setdefault(self._kind(item), [])
        batch.append(self._count)
        self._items[self._count] = item
        self._count += 1
        if len(batch) == self._batch_size:
            self._run_batch(item)

    def run_first(self) -> None:
        """Run the batch of the first item that is held, if it has no result yet."""
        if self._first in self._items:
            self._run_batch(self._items[self._first])

    def take(self) -> Iterator[Result]:
        """Yield the results that no item comes before."""
        while self._first in self._results:
            self._first += 1
            yield self._results.pop(self._first - 1)

    def _run_batch(self, item: Item) -> None:
        numbers = self._batches.pop(self._kind(item))
        results = self._run([self._items.pop(number) for number in numbers])
        self._results.update(zip(numbers, results, strict=True))


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """The items up to an error, which is noted."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - what came before it is still wanted
        failures.append(error)
