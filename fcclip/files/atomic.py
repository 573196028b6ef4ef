"""Files that are either the old version or the whole new one, never a half-written mixture."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


class OutputError(OSError):
    """A file cannot be written where it should be; one sentence with the place and the reason."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a scratch path beside `path`; move it over `path` when the block ends without an error.

    Missing folders are made. After an error the scratch file is removed and `path` is as it was; after a kill it is
    left, and removed by the next process that writes into the folder. The scratch name ends in the suffix of `path`,
    so that writers which look at the suffix work.

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


def require_writable(path: str | Path) -> None:
    """Find out before the work whether a file can be written: make its folder, and a scratch file in it.

    Raises:
        OutputError: it cannot; says why.
    """
    _open_scratch(Path(path)).unlink()


def require_writable_folder(folder: str | Path) -> None:
    """The same for files in a folder, which is made where it is missing."""
    require_writable(Path(folder) / "file")


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
        prefix = f".{path.stem[:100]}.{_this_system()}-{os.getpid()}-"
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    except FileExistsError as error:
        raise OutputError(f"{path} cannot be written: {error.filename} is a file, not a folder") from None
    except OutputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{str(path)[:200]} cannot be written: {reason}") from None
    os.close(handle)
    return Path(name)


@cache
def _sweep_once(folder: Path) -> None:
    """Remove the scratch files that killed processes of this system left in a folder; looks there once per process."""
    if os.name != "posix":  # elsewhere, asking for a process may end it
        return
    scratch = re.compile(rf"\..*\.{_this_system()}-(\d+)-[a-z0-9_]{{8}}(\.[^.]*)?")
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = scratch.fullmatch(entry.name)
            if match and not _is_running(int(match[1])):
                Path(entry.path).unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@cache
def _this_system() -> str:
    """Eight letters for the machine, or the container in it, whose process numbers these are."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115, no file lies there
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def _umask() -> int:
    """The process's umask; the operating system tells it only to those who set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
