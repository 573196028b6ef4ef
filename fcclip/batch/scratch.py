"""Temporary folders that the next run deletes, if the process that made them was killed."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import zlib
from os import getpid
from pathlib import Path

_NAME = re.compile(r"fcclip-[a-z]+-(?P<host>[0-9a-f]{4})-(?P<process>\d+)-\w+")


def make_scratch(what: str, parent: str | None = None) -> Path:
    """An empty folder, named after this process; `parent` is the usual place by default."""
    return Path(tempfile.mkdtemp(prefix=f"fcclip-{what}-{_host()}-{getpid()}-", dir=parent))


def remove_abandoned(parent: str | None = None) -> None:
    """Delete the folders of processes of this machine that are no longer there."""
    if not Path("/proc/self").exists():  # where it cannot be told who is alive
        return
    for folder in Path(parent or tempfile.gettempdir()).glob("fcclip-*"):
        match = _NAME.fullmatch(folder.name)
        if match and match["host"] == _host() and not Path("/proc", match["process"]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _host() -> str:
    """Four letters for this machine, as a process means nothing on another one; few, as sockets need short paths."""
    return f"{zlib.crc32(socket.gethostname().encode()) & 0xFFFF:04x}"
