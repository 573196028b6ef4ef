"""A disk with little room, which only root can make."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK = 4096  # bytes
ENOUGH = 1 << 30
REMEDIES = ("make room", "another", "--resume", "set FCCLIP_CACHE")


class SmallDisk:
    """What is mounted at a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def resize(self, size: int | None) -> None:
        """Give it so many bytes, or enough."""
        _call("mount", "-o", f"remount,size={size or ENOUGH}", str(self._folder))


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Let an empty disk lie at a folder."""
    _call("mount", "-t", "tmpfs", "-o", f"size={ENOUGH}", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _call("umount", str(folder))


def size_of(folder: Path) -> int:
    """Bytes that a folder takes, in whole blocks."""
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in folder.rglob("*") if path.is_file())


def judge_message(log: str, folder: Path) -> list[str]:
    """What is wrong with what a command said at its end: it must be one sentence with the place and the remedy."""
    last = (log.strip().splitlines() or [""])[-1]
    wrong = ["a traceback"] if "Traceback" in log else []
    if str(folder) not in last and not any(word in last for word in ("out", "tmp/")):
        wrong.append(f"no place: {last[:300]}")
    if not any(remedy in last for remedy in REMEDIES):
        wrong.append(f"no remedy: {last[:300]}")
    return wrong


def _call(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
