"""Files that are either the old version or the whole new one, never a half-written mixture."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

STEM = 60  # letters of a file's name that its scratch file has
SCRATCH = re.compile(r"\..*-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\w{8}(\..*)?")


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
        yield scratch
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a scratch folder beside `path`; rename it to `path` when the block ends without an error, else delete it.

    Raises:
        OutputError: something is at `path` already, or the folder cannot be made.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(f"{path} is there already; remove it, or choose another folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:STEM]}-"))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another place") from None
    try:
        yield scratch
        scratch.chmod(0o777 & ~_umask())
        if path.exists():
            path.rmdir()
        scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


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
        prefix = f".{path.stem[:STEM]}-{_host()}-{os.getpid()}-"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    except OutputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{str(path)[:200]} cannot be written: {reason}; choose another place") from None
    os.close(handle)
    return Path(name)


@cache
def _sweep_once(folder: Path) -> None:
    """Delete what killed processes left in a folder; it is listed once per process, as it may hold many files."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        _remove_dead(Path(entry.path) for entry in entries if entry.name.startswith("."))


def _remove_dead(paths: Iterable[Path]) -> list[Path]:
    removed = []
    for path in paths:
        match = SCRATCH.fullmatch(path.name)
        if match and match["host"] == _host() and not _is_alive(int(match["process"])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


@cache
def _host() -> str:
    """Eight letters for this machine, as numbers of processes mean nothing on another one."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if os.name != "posix":  # elsewhere, asking for a process may end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or the system cannot tell
        return True
    return True


def _umask() -> int:
    """The process's umask; the operating system tells it only to those who set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
