"""Is there such a file? Told in one sentence, whatever the operating system thinks of its name."""

from __future__ import annotations

from pathlib import Path


def require_file(path: str | Path, what: str) -> Path:
    """The path of a regular file.

    Args:
        path: what the user gave; `~` is the home folder.
        what: what the file should be, such as "image".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, a pipe or a device, or no file can have that name.
    """
    name = str(path)
    try:
        path = Path(path).expanduser()
        if path.is_file():
            return path
        exists = path.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, with a NUL byte, the home of nobody
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"no {what} can be called {name[:60]!r}: {reason}") from None
    if not exists:
        raise FileNotFoundError(f"{what} {name} does not exist")
    raise ValueError(f"{name} is {'a folder' if path.is_dir() else 'not a regular file'}; give the {what} itself")
