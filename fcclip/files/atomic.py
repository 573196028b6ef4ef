"""Files that are either the old version or the whole new one, never a half-written mixture."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STEM = 60  # letters of a file's name that its scratch file has
SCRATCH = re.compile(r"\..*-(?P<host>[0-9a-f]{8})-(?P<process>\d+)-\w{8}(\..*)?")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a scratch path beside `path`; move it over `path` when the block ends without an error.

    Missing folders are made. After an error the scratch file is removed and `path` is as it was. A process that is
    killed leaves its scratch file; its name begins with a dot and tells the process, so that `remove_scratch` finds it.
    The scratch name ends in the suffix of `path`, so that writers which look at the suffix work.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.stem[:STEM]}-{_host()}-{os.getpid()}-"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=path.suffix)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(0o666 & ~_umask())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def remove_scratch(folder: str | Path) -> list[Path]:
    """Delete the scratch files that killed processes of this machine have left in a folder and below.

    Returns:
        What was deleted. Scratch files of processes that are alive, or of other machines, stay.
    """
    removed = []
    for path in Path(folder).rglob(".*"):
        match = SCRATCH.match(path.name)
        if match is None or match["host"] != _host() or _is_alive(int(match["process"])):
            continue
        path.unlink(missing_ok=True)
        removed.append(path)
    return removed


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text to `path` atomically."""
    with atomic_path(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, indent: int | None = None) -> None:
    """Write `value` as JSON to `path` atomically."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


def _host() -> str:
    """Eight letters for this machine, as numbers of processes mean nothing on another one."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's, or the system cannot tell
        return True
    return True


def _umask() -> int:
    """The process's umask; the operating system tells it only to those who set it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
