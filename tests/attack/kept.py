"""What earlier runs left behind, damaged: text caches, journals, stamped files, archives."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from fcclip.evaluation.journal import Journal
from fcclip.files.archives import unpack
from fcclip.files.cache import TextCache
from fcclip.files.stamps import is_current, save_stamped
from tests.attack.judge import Attack
from tests.attack.mutations import bit_flips, odd_documents, splices, truncations

DIGEST = "d" * 64
STATISTICS = {"panoptic": {"7": [0.5, 1, 0, 2]}}


def attacks() -> Iterator[Attack]:
    yield from _caches()
    yield from _journals()
    yield from _stamps()
    yield from _archives()


def _caches() -> Iterator[Attack]:
    rows = {"cat": torch.arange(8.0), "dog": torch.ones(8)}
    with tempfile.TemporaryDirectory() as folder:
        cache = TextCache(DIGEST, Path(folder), width=8)
        cache.add(rows)
        data = cache.path_of("cat").read_bytes()
    for what, changed in (*truncations(data, 15), *bit_flips(data, 60), *splices(data, 15)):
        # What is there is right, or it is not there.
        act = partial(_read_cache, data=changed)
        yield Attack(
            f"text cache, {what}", act, lambda found: all(torch.equal(found[name], rows[name]) for name in found)
        )


def _read_cache(folder: Path, data: bytes) -> dict[str, torch.Tensor]:
    cache = TextCache(DIGEST, folder, width=8)
    cache.path_of("cat").parent.mkdir(parents=True)
    cache.path_of("cat").write_bytes(data)
    found = cache.read(["cat", "dog"])
    cache.add({"bird": torch.zeros(8)})
    assert torch.equal(cache.read(["bird"])["bird"], torch.zeros(8))
    return found


def _journals() -> Iterator[Attack]:
    lines = [
        {"digest": DIGEST},
        {"image": "a.jpg", "statistics": STATISTICS},
        {"image": "b.jpg", "statistics": STATISTICS},
    ]
    data = "\n".join(map(json.dumps, lines)).encode()
    for what, changed in (*truncations(data, 20), *splices(data, 20)):
        yield Attack(f"journal, {what}", partial(_read_journal, data=changed), _knows_only_what_it_had)
    for what, odd in odd_documents(lines):
        text = "\n".join(map(json.dumps, odd)).encode()
        yield Attack(f"journal, {what}", partial(_read_journal, data=text), lambda found: isinstance(found, dict))


def _read_journal(folder: Path, data: bytes) -> dict[str, object]:
    (folder / "done").mkdir()
    (folder / "done" / "rank0.jsonl").write_bytes(data)
    journal = Journal(folder / "done", DIGEST)
    found = journal.read()
    with journal.open(0) as writer:  # going on after the damage loses nothing that comes later
        writer.append("c.jpg", STATISTICS)
    assert journal.read()["c.jpg"] == STATISTICS
    return found


def _knows_only_what_it_had(found: dict[str, object]) -> bool:
    return all(isinstance(statistics, dict) for statistics in found.values())


def _stamps() -> Iterator[Attack]:
    for suffix in (".png", ".tif", ".jpg"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"a{suffix}")
            save_stamped(Image.new("RGB", (9, 7), (5, 200, 90)), path, "stamp 1")
            data = path.read_bytes()
        for what, changed in truncations(data, 12):
            act = partial(_is_current, name=f"a{suffix}", data=changed)
            yield Attack(f"stamped {suffix}, {what}", act, lambda found: found is False)
        for what, changed in bit_flips(data, 20):
            act = partial(_is_current, name=f"a{suffix}", data=changed)
            yield Attack(f"stamped {suffix}, {what}", act)


def _is_current(folder: Path, name: str, data: bytes) -> bool:
    (folder / name).write_bytes(data)
    return is_current(folder / name, "stamp 1")


def _archives() -> Iterator[Attack]:
    files = {"set/a.txt": b"one" * 50, "set/b/c.txt": b"two" * 50}
    for name, data in {"odd.zip": zip_of(files), "odd.tar": _tar(files), "odd.tar.gz": _tar(files, "gz")}.items():
        yield Attack(f"{name}, whole", partial(_unpack, name=name, data=data), lambda found: found == files, name)
        for what, changed in (*truncations(data, 15), *bit_flips(data, 30), *splices(data, 10)):
            yield Attack(f"{name}, {what}", partial(_unpack, name=name, data=changed), named=name)
    for inside in ("../x", "/x", "a/../../x", "C:\\x", "..\\x", "a\0b", "x" * 300, "a//../../../x"):
        for name, data in {"odd.zip": zip_of({inside: b"x"}), "odd.tar": _tar({inside: b"x"})}.items():
            yield Attack(f"{inside[:20]!r} in {name}", partial(_unpack, name=name, data=data), named=name)
    for kind, what in (
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
    ):
        data = _tar({"x": b""}, kind=kind)
        yield Attack(
            f"a {what} in odd.tar", partial(_unpack, name="odd.tar", data=data), named="odd.tar", may_pass=False
        )
    bomb = partial(_unpack, name="odd.zip", data=_lying_zip())
    yield Attack("a zip that says it has a terabyte", bomb, named="", may_pass=False)


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def _lying_zip() -> bytes:
    data = bytearray(zip_of({"x": b"x" * 100}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the size of the unpacked file
        place = data.index(signature) + offset
        data[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    return bytes(data)


def _tar(files: dict[str, bytes], mode: str = "", kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{mode}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


Unpacked = dict[str, bytes]


def _unpack(folder: Path, name: str, data: bytes) -> Unpacked:
    """All files that are there afterwards, but for the archive, by their names below the folder of the test."""
    (folder / "in").mkdir()
    (folder / "in" / name).write_bytes(data)
    try:
        unpack(folder / "in" / name, folder / "out")
    finally:
        stray = [
            path
            for path in folder.rglob("*")
            if path.is_file() and path.relative_to(folder).parts[0] not in ("in", "out")
        ]
        assert not stray, f"wrote {stray}"
        assert not any(path.is_symlink() for path in folder.rglob("*"))
    return {
        str(path.relative_to(folder / "out")): path.read_bytes()
        for path in (folder / "out").rglob("*")
        if path.is_file()
    }
