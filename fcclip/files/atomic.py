"""Files that are either the old version or the whole new one, never a half-written mixture."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any

from fcclip.files.processes import host_digest, is_abandoned

STEM = 60  # letters of a file's name that its scratch file has
SCRATCH = re.compile(r"\..*-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\w{8}(\..*)?")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL = "the disk is full; make room, or choose a place on another disk"
LEAST_FREE = 1 << 14  # bytes; writers of libraries stop with errors of their own where less is left
_mine: set[str] = set()  # names of the scratch files that this process is writing


class OutputError(OSError):
    """A file cannot be written where it should be; one sentence with the place and the reason."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a scratch path beside `path`; move it over `path` when the block ends without an error.

    Missing folders are made. After an error the scratch file is removed and `path` is as it was. A process that is
    killed leaves its scratch file; its name begins with a dot and tells the process, so that the next process that
    writes into the folder, or `remove_scratch`, finds and deletes it.
    The scratch name ends in the suffix of `path`, so that writers which look at the suffix work.

    Raises:
        OutputError: the folder cannot be made or written, `path` is a folder, or the disk is full.
    """
    path = Path(path)
    scratch = _open_scratch(path)
    try:
        with full_disk_told(path):
            yield scratch
            scratch.chmod(0o666 & ~_umask())
            scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
        _mine.discard(scratch.name)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a scratch folder beside `path`; rename it to `path` when the block ends without an error, else delete it.

    A process that is killed leaves it, as it does a scratch file of `atomic_path`.

    Raises:
        OutputError: something is at `path` already, the folder cannot be made, or the disk is full.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(f"{path} is there already; remove it, or choose another folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(path.parent.resolve())
        scratch = _scratch_name(path.parent, path.name, "")
        scratch.mkdir()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another place") from None
    try:
        with full_disk_told(path):
            yield scratch
            if path.exists():
                path.rmdir()
            scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        _mine.discard(scratch.name)


@contextmanager
def full_disk_told(path: str | Path) -> Iterator[None]:
    """Within, `path` is written, and an error that a full disk is to blame for says so.

    Raises:
        OutputError: one sentence with the file and the remedy.
    """
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        if not _is_full(error, Path(path).parent):
            raise
        raise OutputError(f"{path} cannot be written: {FULL}") from error


def write_all(file: FileIO, content: bytes) -> None:
    """Write to a file without a buffer, which may take a part at a time."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def remove_scratch(folder: str | Path) -> list[Path]:
    """Delete the scratch files that killed processes of this machine have left in a folder and below.

    Returns:
        What was deleted. Scratch files of processes that are alive, or of other machines, stay.
    """
    return _remove_dead(Path(folder).rglob(".*"))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text to `path` atomically."""
    with atomic_path(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, indent: int | None = None) -> None:
    """Write `value` as JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def _open_scratch(path: Path) -> Path:
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder; name a file in it")
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep_once(path.parent.resolve())
        scratch = _scratch_name(path.parent, path.stem, path.suffix)
        os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OutputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{str(path)[:200]} cannot be written: {reason}; choose another place") from None
    return scratch


def _scratch_name(folder: Path, stem: str, suffix: str) -> Path:
    """A name that tells this process; known as its own before the file is there."""
    name = f".{stem[:STEM]}-{host_digest()}-{os.getpid()}-{secrets.token_hex(4)}{suffix}"
    _mine.add(name)
    return folder / name


def _is_full(error: Exception, folder: Path) -> bool:
    """Whether the disk is to blame; Pillow, PyTorch and others do not say so."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NO_ROOM
    with contextlib.suppress(OSError):
        return shutil.disk_usage(folder).free < LEAST_FREE
    return False


@cache
def _sweep_once(folder: Path) -> None:
    """Delete what killed processes left in a folder; it is listed once per process, as it may hold many files."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        _remove_dead(Path(entry.path) for entry in entries if entry.name.startswith("."))


def _remove_dead(paths: Iterable[Path]) -> list[Path]:
    removed = []
    for path in paths:
        match = SCRATCH.fullmatch(path.name)
        if match and is_abandoned(match["host"], int(match["process"]), _is_mine(path.name)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _is_mine(name: str) -> bool:
    return name.startswith(tuple(_mine))  # some writers add a suffix


def _umask() -> int:
    """The process's umask; the operating system tells it only to those who set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
