"""Which processes of this machine are still there: what killed ones have left is deleted, what they started ends."""

from __future__ import annotations

import hashlib
import multiprocessing
import multiprocessing.connection
import os
import socket
import threading
from functools import cache
from pathlib import Path

HOST_LETTERS = 8


@cache
def host_digest() -> str:
    """Eight letters for this machine, as numbers of processes mean nothing on another one."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:HOST_LETTERS]


def is_alive(process: int) -> bool:
    """Whether there is a process of that number on this machine; True where that cannot be told."""
    if os.name != "posix":  # elsewhere, asking for a process may end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is another user's, or the system cannot tell
        return True
    return not _is_zombie(process)


def is_abandoned(host: str, process: int, is_mine: bool) -> bool:
    """Whether the process of this machine that made something is gone.

    Args:
        host: the first letters of the digest of its machine.
        process: its number.
        is_mine: this process has made it; in a container that was started again, an earlier one had its number.
    """
    if not host_digest().startswith(host):
        return False
    return not is_mine if process == os.getpid() else not is_alive(process)


def _is_zombie(process: int) -> bool:
    """Whether it is dead, but nobody has asked how it ended; containers without an init process keep such ones."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
        return stat.rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return False


def end_with_parent() -> None:
    """Let this process of a pool end when the one that started it is gone; else it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
