"""Which parts of an index count, and what is missing."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from fcclip.batch.parts import Part, cover, list_parts, read_notes, read_part, write_part
from fcclip.batch.store import Store


def parts(*ranges: tuple[int, int]) -> list[Part]:
    return [Part(3, *one) for one in ranges]


@pytest.mark.parametrize(
    ("there", "kept", "missing"),
    [
        ([], [], [(0, 10)]),
        ([(0, 10)], [(0, 10)], []),
        ([(0, 4), (6, 8)], [(0, 4), (6, 8)], [(4, 6), (8, 10)]),
        ([(0, 4), (0, 10), (4, 10)], [(0, 10)], []),  # two workers on one shard
        ([(0, 4), (3, 10)], [(0, 4)], [(4, 10)]),
        ([(0, 12)], [], [(0, 10)]),  # not of this plan
    ],
)
def test_no_image_counts_twice(there, kept, missing) -> None:
    found, extra, gaps = cover(parts(*there), 10)
    assert found == parts(*kept)
    assert gaps == missing
    assert sorted(found + extra) == sorted(parts(*there))


def test_a_part_tells_its_failures(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    part = Part(3, 0, 2)
    records = [{"id": "a", "error": None, "segments": []}, {"id": "b", "error": "ValueError: damaged", "segments": []}]
    write_part(store, part, records, {"network": 1.5})
    (tmp_path / "index.parquet" / "notes.txt").write_text("not of ours")
    assert list_parts(store) == list_parts(store, 3) == [part]
    assert list_parts(store, 4) == []
    assert read_notes(store, [part]) == [(1, {"network": 1.5})]
    assert [record["error"] for record in read_part(store, part)] == [None, "ValueError: damaged"]
    store.remove(part.file)
    with pytest.raises(ValueError, match="was deleted meanwhile"):
        read_part(store, part)
