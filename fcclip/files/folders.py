"""The folders of the user and of the package; light, for commands that have to answer at once."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_directory() -> Path:
    """`$FCCLIP_CACHE`, else the folder `fcclip` in the user's cache folder."""
    chosen = os.environ.get("FCCLIP_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fcclip"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "fcclip"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcclip"


def configs_folder() -> Path:
    """The folder of the configurations: in the package once it is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def find_config(path: str | Path) -> Path:
    """A configuration by its path, or else by its path among those that come along.

    Args:
        path: such as `mine.yaml`, `configs/panoshapes/fcclip_small.yaml` or `panoshapes/fcclip_small.yaml`; the latter
            two work from any folder.

    Returns:
        The file; `path` itself if there is none, for the caller to name in its error.
    """
    path = Path(path)
    if path.is_file() or path.is_absolute():
        return path
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    shipped = configs_folder().joinpath(*parts)
    return shipped if shipped.is_file() else path
