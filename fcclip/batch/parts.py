"""The parts of an index: each holds the records of some neighbouring images of a shard, and its name says which.

So one listing of a folder tells what is done, however many images there are. A part is written after the results that
its records are of: where it is, they are.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

from fcclip.batch.store import Store

INDEX = "index.parquet"  # a folder: pyarrow, pandas, DuckDB and Spark read it as one table
READERS = 16
_NAME = re.compile(r"(\d{8})-(\d{6})-(\d{6})\.parquet")
FAILED = b"fcclip.failed"
SECONDS = b"fcclip.seconds"

Record = dict[str, Any]


@dataclass(frozen=True, order=True)
class Part:
    """Images `first` to `last` - 1 of a shard."""

    shard: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """What its files are called, without a suffix."""
        return f"{self.shard:08d}-{self.first:06d}-{self.last:06d}"

    @property
    def file(self) -> str:
        """Its part of the index."""
        return f"{INDEX}/{self.name}.parquet"

    def __len__(self) -> int:
        return self.last - self.first


def list_parts(store: Store, shard: int | None = None) -> list[Part]:
    """The parts that are there, of one shard or of all, sorted."""
    names = store.names(INDEX, "" if shard is None else f"{shard:08d}-")
    found = (_NAME.fullmatch(name) for name in names)
    return sorted(Part(*map(int, match.groups())) for match in found if match)


def cover(parts: Sequence[Part], size: int) -> tuple[list[Part], list[Part], list[tuple[int, int]]]:
    """Choose parts of one shard so that no image is in two of them.

    Two workers may have worked on one shard, if the first was thought to be dead.

    Returns:
        The parts that count, those that are superfluous, and the ranges of images that no part has.
    """
    kept: list[Part] = []
    extra: list[Part] = []
    missing: list[tuple[int, int]] = []
    position = 0
    for part in sorted(parts, key=lambda part: (part.first, -part.last)):
        if part.first < position or part.last > size:
            extra.append(part)
            continue
        if part.first > position:
            missing.append((position, part.first))
        kept.append(part)
        position = part.last
    if position < size:
        missing.append((position, size))
    return kept, extra, missing


def parts_by_shard(parts: Iterable[Part]) -> Mapping[int, list[Part]]:
    """Parts by the number of their shard."""
    found: dict[int, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.shard].append(part)
    return found


@cache
def schema() -> Any:
    """The columns of the index."""
    import pyarrow as pa

    segment = pa.struct(
        [
            ("id", pa.int32()),
            ("category_id", pa.int32()),
            ("name", pa.string()),
            ("score", pa.float32()),
            ("area", pa.int64()),
            ("box", pa.list_(pa.int32())),
        ]
    )
    return pa.schema(
        [
            ("id", pa.string()),
            ("path", pa.string()),
            ("image_id", pa.int64()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("segments", pa.list_(segment)),
            ("seconds", pa.float32()),
            ("error", pa.string()),
            ("shard", pa.string()),
            ("worker", pa.string()),
        ]
    )


def write_part(store: Store, part: Part, records: Sequence[Record], seconds: Mapping[str, float]) -> None:
    """Write the records of a part; with that, it is done.

    Args:
        store: the target.
        part: which images.
        records: one per image, as in `schema`.
        seconds: how long reading, network and writing took.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    failed = sum(record["error"] is not None for record in records)
    notes = {FAILED: str(failed).encode(), SECONDS: json.dumps(dict(seconds)).encode()}
    table = pa.Table.from_pylist(list(records), schema=schema().with_metadata(notes))
    buffer = BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    store.write(part.file, buffer.getvalue())


def read_part(store: Store, part: Part) -> list[Record]:
    """The records of a part."""
    import pyarrow.parquet as pq

    content = store.read(part.file)
    if content is None:
        raise ValueError(f"{store.address}/{part.file} was deleted meanwhile; run the command again")
    return list(pq.read_table(BytesIO(content)).to_pylist())


def read_notes(store: Store, parts: Sequence[Part]) -> list[tuple[int, dict[str, float]]]:
    """Failures and seconds of each part; only the ends of the files are read."""
    import pyarrow.parquet as pq

    def read(part: Part) -> tuple[int, dict[str, float]]:
        with store.open(part.file) as file:
            notes = pq.read_metadata(file).metadata
        return int(notes[FAILED]), json.loads(notes[SECONDS])

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(read, parts))
