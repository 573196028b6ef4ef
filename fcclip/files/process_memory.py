"""Main memory of this process, as the system tells it."""

from __future__ import annotations

import sys
from pathlib import Path


def resident_bytes() -> int:
    """Bytes that this process holds now; where that is not told, the most that it ever held."""
    return _told("VmRSS") or _peak_of_resource()


def peak_bytes() -> int:
    """The most bytes that this process has ever held.

    `getrusage` tells it only where Linux's way is missing: there it is never less than what the process that started
    this one held at that time.
    """
    return _told("VmHWM") or _peak_of_resource()


def _told(key: str) -> int:
    """A figure of /proc in bytes; 0 where there is none."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)


def _peak_of_resource() -> int:
    import resource  # not everywhere: Windows has no such module

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
