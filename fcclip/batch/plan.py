"""The plan of a run: all images, cut into shards, in the target; a later run reads it, and adds images that are new.

The driver holds eight bytes for each image, a hash of its name, and nothing else.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np

from fcclip.batch.items import Item
from fcclip.batch.store import Store
from fcclip.files.coco_json import is_inside

PLAN = "plan"
SUMMARY = "plan/plan.json"
COLUMNS = ("id", "path", "kind", "start", "length")
READERS = 16


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        sizes: images of each shard.
        shard_size: the most images of a shard; ids of images count on by it.
    """

    sizes: tuple[int, ...]
    shard_size: int

    @property
    def total(self) -> int:
        """All images."""
        return sum(self.sizes)


def read_plan(store: Store) -> Plan | None:
    """The plan of an earlier run, None without one."""
    found = store.read_json(SUMMARY)
    return None if found is None else Plan(tuple(found["sizes"]), int(found["shard_size"]))


def read_shard(store: Store, shard: int) -> list[Item]:
    """The images of a shard."""
    return [Item(*values) for values in zip(*_columns(store, shard, COLUMNS), strict=True)]


def make_plan(store: Store, list_items: Callable[[], Iterable[Item]], shard_size: int) -> Plan:
    """Plan the images of a source; those of an earlier plan keep their places, and what is new comes after them.

    Args:
        store: where the plan is kept.
        list_items: lists the source; called again where two images have one name, to tell which.
        shard_size: images of a shard, of a new plan.

    Raises:
        ValueError: two images have one name, or a name leads out of the folder of results.
    """
    old = read_plan(store) or Plan((), shard_size)
    known = _known_hashes(store, old)
    sizes = list(old.sizes)
    hashes = array("Q")
    buffer: list[Item] = []
    for chunk in _chunks(list_items(), old.shard_size):
        found = np.fromiter((_hash(item.stem) for item in chunk), np.uint64, len(chunk))
        hashes.frombytes(found.tobytes())
        is_known = np.isin(found, known)
        buffer += [item for item, skip in zip(chunk, is_known.tolist(), strict=True) if not skip]
        while len(buffer) >= old.shard_size:
            _write_shard(store, len(sizes), buffer[: old.shard_size])
            sizes.append(old.shard_size)
            del buffer[: old.shard_size]
    _require_unique(np.frombuffer(hashes, np.uint64), list_items)
    if buffer:
        _write_shard(store, len(sizes), buffer)
        sizes.append(len(buffer))
    plan = Plan(tuple(sizes), old.shard_size)
    if plan != old:
        store.write_json(SUMMARY, {"sizes": sizes, "shard_size": old.shard_size, "total": plan.total})
    return plan


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        if not is_inside(item.id):
            raise ValueError(f'the image {item.path} would be called "{item.id}", which leads out of the folder')
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _require_unique(hashes: np.ndarray, list_items: Callable[[], Iterable[Item]]) -> None:
    ordered = np.sort(hashes)
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not twice:
        return
    seen: dict[str, Item] = {}
    for item in list_items():
        if _hash(item.stem) in twice:
            other = seen.setdefault(item.stem, item)
            if other is not item:
                raise ValueError(
                    f'two images are called "{item.stem}": {other.path} ({other.id}) and {item.path} ({item.id}); '
                    "rename one of them, or give the source in parts with an --output each"
                )


def _known_hashes(store: Store, plan: Plan) -> np.ndarray:
    def hashes(shard: int) -> np.ndarray:
        [ids] = _columns(store, shard, ("id",))
        return np.fromiter((_hash(Item(id_, "").stem) for id_ in ids), np.uint64, len(ids))

    with ThreadPoolExecutor(READERS) as pool:
        parts = list(pool.map(hashes, range(len(plan.sizes))))
    return np.concatenate([np.empty(0, np.uint64), *parts])


def _hash(stem: str) -> int:
    return int.from_bytes(hashlib.blake2b(stem.encode(), digest_size=8).digest(), "little")


def _file_of(shard: int) -> str:
    return f"{PLAN}/{shard:08d}.parquet"


def _write_shard(store: Store, shard: int, items: list[Item]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = BytesIO()
    pq.write_table(pa.table({name: [getattr(item, name) for item in items] for name in COLUMNS}), buffer)
    store.write(_file_of(shard), buffer.getvalue())


def _columns(store: Store, shard: int, names: tuple[str, ...]) -> list[list[Any]]:
    import pyarrow.parquet as pq

    content = store.read(_file_of(shard))
    if content is None:
        raise ValueError(f"{store.address}/{_file_of(shard)} is missing; name another --output, or delete this one")
    table = pq.read_table(BytesIO(content), columns=list(names))
    return [table.column(name).to_pylist() for name in names]
