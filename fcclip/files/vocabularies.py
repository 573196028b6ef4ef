"""The published lists of class names, fetched once: published figures need them; they do not come with this package."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from fcclip.files.download import DownloadError, download
from fcclip.files.folders import cache_directory
from fcclip.files.sources import Expected, WebSource

PUBLISHED = "published"  # MODEL.FC_CLIP.VOCABULARY_DIR

_DESCRIPTION = Path(__file__).resolve().parents[1] / "assets" / "published_vocabularies.json"


def vocabulary_folder(folder: str | Path) -> Path:
    """The folder of MODEL.FC_CLIP.VOCABULARY_DIR; for "published", that of the published lists.

    Raises:
        DownloadError: these could not be fetched, or were changed.
    """
    return published_vocabularies() if str(folder) == PUBLISHED else Path(folder)


def published_vocabularies() -> Path:
    """The folder of the ten published lists, all of which are fetched if one is missing, and checked.

    Raises:
        DownloadError: a file could not be fetched, or is not the published one; the message says what to do.
    """
    published = description()
    folder: Path = cache_directory() / "published_vocabularies" / published["commit"][:12]
    for name, digest in published["sha256"].items():
        address = f"{published['raw']}/{published['commit']}/{published['folder']}/{name}"
        path = download(folder / name, [WebSource(address)], Expected(digest=f"sha256:{digest}"))
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise DownloadError(f"{path} is not the published list; delete it, and it will be fetched anew")
    return folder


@cache
def description() -> dict[str, Any]:
    """Where the lists are: `repository`, `raw`, `commit`, `folder`, `licence`, and `sha256` by file name."""
    published: dict[str, Any] = json.loads(_DESCRIPTION.read_text(encoding="utf-8"))
    return published
