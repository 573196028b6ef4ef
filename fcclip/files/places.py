"""Output places, tried before the work whose result they are to hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

LONGEST_SHOWN = 1000  # letters of a path


def require_writable_folder(path: str | Path) -> Path:
    """Make a folder, with those above it, and try whether files can be written there.

    Raises:
        ValueError: they cannot; says why and what to do.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0")
    except OSError as error:
        raise ValueError(
            f"nothing can be written to the folder {folder} ({reason_of(error)}); name another one, or make this one "
            "writable"
        ) from error
    return folder


def require_place(path: str | Path) -> None:
    """See that a folder can be made, or written into if it is there; nothing is made yet.

    Raises:
        ValueError: it cannot; says why and what to do.
    """
    folder = Path(path)
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    require_writable_folder(folder)


def require_writable_file(path: str | Path) -> Path:
    """Try whether a file can be written under this name; one that is there stays as it is.

    Raises:
        ValueError: it cannot, or the name is that of a folder.
    """
    file = Path(path)
    if file.is_dir():
        raise ValueError(f"{file} is a folder; name the file that is to be written")
    require_writable_folder(file.parent)
    return file


def reason_of(error: OSError) -> str:
    """What the operating system says, without its number: "Permission denied: /data"."""
    reason = error.strerror or str(error)
    name = str(error.filename or "")
    shown = name if len(name) <= LONGEST_SHOWN else f"{name[:60]}..."
    return f"{reason}: {shown}" if shown else reason
