"""Ways to damage bytes and documents, the same ones in every run."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

# What stands where something else was expected; no two are equal in JSON.
ODD_VALUES: tuple[Any, ...] = (None, "", "text", -1, 1.5, 10**30, True, [], [[]], {}, {"a": 1})


def truncations(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """The beginning of some bytes, from nothing to all but the last."""
    lengths = sorted({*(len(data) * part // count for part in range(count)), len(data) - 1})
    for length in lengths:
        yield f"cut after {length} of {len(data)} bytes", data[:length]


def bit_flips(data: bytes, count: int, seed: int = 0, end: int | None = None) -> Iterator[tuple[str, bytes]]:
    """Some bytes with one bit changed, before `end`."""
    chosen = random.Random(seed)
    for place in chosen.sample(range((end or len(data)) * 8), min(count, (end or len(data)) * 8)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        yield f"bit {place % 8} of byte {place // 8} changed", bytes(changed)


def splices(data: bytes, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Some bytes with a part of random bytes in the middle, or with a part left out."""
    chosen = random.Random(seed)
    for number in range(count):
        start = chosen.randrange(len(data))
        length = chosen.randint(1, 64)
        middle = chosen.randbytes(length) if number % 2 else b""
        what = "replaced" if number % 2 else "left out"
        yield f"{length} bytes from {start} {what}", data[:start] + middle + data[start + length :]


def odd_documents(document: Any) -> Iterator[tuple[str, Any]]:
    """A document with one thing left out, and with one thing replaced by each of `ODD_VALUES`."""
    for path in _paths(document):
        name = ".".join(map(str, path))
        without = copy.deepcopy(document)
        del _parent(without, path)[path[-1]]
        yield f"without {name}", without
        for value in ODD_VALUES:
            if value == _parent(document, path)[path[-1]] and type(value) is type(_parent(document, path)[path[-1]]):
                continue
            changed = copy.deepcopy(document)
            _parent(changed, path)[path[-1]] = value
            yield f"{name} = {value!r}", changed


def _paths(document: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything in a document; of a list's entries only the first two, which stand for all."""
    entries = document.items() if isinstance(document, dict) else enumerate(document[:2])
    for key, value in entries:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from _paths(value, (*above, key))


def _parent(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        document = document[key]
    return document
