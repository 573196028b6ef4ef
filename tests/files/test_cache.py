import hashlib
import json
import logging
import multiprocessing
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from fcclip.files.cache import FILES, TextCache

FINGERPRINT = "0" * 64


def test_keeps_what_was_added(tmp_path) -> None:
    cache = TextCache(FINGERPRINT, tmp_path)
    assert cache.read(["cat"]) == {}
    cache.add({"cat": torch.ones(4)})
    cache.add({"sky, clouds": torch.zeros(4)})
    found = TextCache(FINGERPRINT, tmp_path).read(["sky, clouds", "cat", "dog"])
    assert sorted(found) == ["cat", "sky, clouds"]
    assert torch.equal(found["cat"], torch.ones(4))


def test_other_weights_have_another_file(tmp_path) -> None:
    TextCache(FINGERPRINT, tmp_path).add({"cat": torch.ones(4)})
    assert TextCache("1" * 64, tmp_path).read(["cat"]) == {}


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_damaged_file_is_ignored_and_replaced(tmp_path, damage, caplog) -> None:
    cache = TextCache(FINGERPRINT, tmp_path)
    cache.add({"cat": torch.ones(64)})
    data = bytearray(cache.path_of("cat").read_bytes())
    damaged = {"cut": data[:-9], "flip": data[:-1] + bytes([data[-1] ^ 1]), "empty": b"", "text": b"hello, world"}
    cache.path_of("cat").write_bytes(damaged[damage])
    with caplog.at_level(logging.WARNING):
        assert cache.read(["cat"]) == {}
    assert "damaged text cache" in caplog.text
    cache.add({"dog": torch.ones(64)})
    assert list(cache.read(["cat", "dog"])) == ["dog"]
    cache.add({"cat": torch.zeros(64)})
    assert not cache.read(["cat"])["cat"].any()


def test_folder_that_cannot_be_written_costs_only_the_cache(tmp_path, caplog) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    cache = TextCache(FINGERPRINT, blocked)
    with caplog.at_level(logging.WARNING):
        cache.add({"cat": torch.ones(4)})
    assert "set FCCLIP_CACHE" in caplog.text


def _write(folder: Path, start: int) -> None:
    for index in range(start, start + 10):
        TextCache(FINGERPRINT, folder).add({f"name {index}": torch.full((8,), float(index))})


def test_concurrent_writers_leave_a_whole_file(tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, start)) for start in (0, 10)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    found = TextCache(FINGERPRINT, tmp_path).read([f"name {index}" for index in range(20)])
    assert {"name 9", "name 19"} & set(found)
    for name, row in found.items():
        assert torch.equal(row, torch.full((8,), float(name.split()[1])))
    paths = {TextCache(FINGERPRINT, tmp_path).path_of(f"name {index}") for index in range(20)}
    assert set((tmp_path / "text").iterdir()) == paths


def write(path: Path, names: object, rows: torch.Tensor) -> None:
    """A cache file of any content, with the digest that belongs to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(rows.numpy().tobytes()).hexdigest()
    text = names if isinstance(names, str) else json.dumps(names)
    path.write_bytes(save({"embeddings": rows}, {"names": text, "digest": digest}))


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (["cat"], torch.full((1, 4), float("nan"))),
        (["cat"], torch.ones(1, 5)),
        (["cat"], torch.ones(1)),
        (["cat"], torch.ones(1, 4, dtype=torch.int32)),
        (["cat", "dog"], torch.ones(1, 4)),
        ([1], torch.ones(1, 4)),
        ({"cat": 0}, torch.ones(1, 4)),
        ("[" * 100_000, torch.ones(1, 4)),
    ],
)
def test_rows_that_no_text_tower_gives_are_ignored(tmp_path, caplog, names, rows) -> None:
    cache = TextCache(FINGERPRINT, tmp_path, width=4)
    write(cache.path_of("cat"), names, rows)
    with caplog.at_level(logging.WARNING):
        assert cache.read(["cat"]) == {}
    assert "damaged text cache" in caplog.text


def test_a_row_keeps_only_itself_in_memory(tmp_path) -> None:
    cache = TextCache(FINGERPRINT, tmp_path)
    cache.add({f"name {index}": torch.full((8,), float(index)) for index in range(100)})
    row = cache.read(["name 7"])["name 7"]
    assert row.untyped_storage().nbytes() == row.nbytes == 32


def test_a_new_name_costs_one_small_file_however_many_are_kept(tmp_path) -> None:
    cache = TextCache(FINGERPRINT, tmp_path)
    cache.add({f"name {index}": torch.full((8,), float(index)) for index in range(2000)})
    paths = sorted((tmp_path / "text").iterdir())
    assert len(paths) == FILES
    before = {path: path.stat().st_mtime_ns for path in paths}
    assert max(path.stat().st_size for path in paths) < 3 * sum(path.stat().st_size for path in paths) / FILES
    cache.add({"walrus": torch.ones(8)})
    changed = [path for path in paths if path.stat().st_mtime_ns != before[path]]
    assert changed == [cache.path_of("walrus")]
    assert len(cache.read(f"name {index}" for index in range(2000))) == 2000


def test_a_full_file_begins_anew(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fcclip.files.cache.FILES", 1)
    monkeypatch.setattr("fcclip.files.cache.MAX_NAMES", 3)
    cache = TextCache(FINGERPRINT, tmp_path)
    for name in "abcd":
        cache.add({name: torch.ones(4)})
    assert list(cache.read("abcd")) == ["d"]
