"""Temporary folders that the next run deletes, if the process that made them was killed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import getpid
from pathlib import Path

from fcclip.files.processes import host_digest, is_abandoned

# Few letters for the machine, as the paths of sockets have to be short.
HOST_LETTERS = 4
_NAME = re.compile(r"fcclip-[a-z]+-(?P<host>[0-9a-f]{4})-(?P<process>\d+)-\w+")
_mine: set[str] = set()  # names of the folders that this process has made


def make_scratch(what: str, parent: str | None = None) -> Path:
    """An empty folder, named after this process; `parent` is the usual place by default."""
    folder = Path(tempfile.mkdtemp(prefix=f"fcclip-{what}-{host_digest()[:HOST_LETTERS]}-{getpid()}-", dir=parent))
    _mine.add(folder.name)
    return folder


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """An empty folder that is deleted when the block ends; before it, those of killed processes are."""
    remove_abandoned()
    folder = make_scratch(what)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: str | None = None) -> None:
    """Delete the folders of processes of this machine that are no longer there."""
    with suppress(OSError):
        for folder in Path(parent or tempfile.gettempdir()).glob("fcclip-*"):
            match = _NAME.fullmatch(folder.name)
            if match and is_abandoned(match["host"], int(match["process"]), folder.name in _mine):
                shutil.rmtree(folder, ignore_errors=True)
