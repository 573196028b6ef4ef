"""Where the numbers of an evaluation came from, for those who find `results.json` a year later."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

PACKAGES = ("fcclip", "detectron2", "torch", "torchvision", "open_clip_torch", "timm", "numpy", "pycocotools")
BLOCK = 1 << 20  # bytes that are hashed at once


@dataclass(frozen=True)
class Origin:
    """Which weights were evaluated.

    Attributes:
        checkpoint: the file; "" if the model was not loaded from one, as during a training.
        sha256: of that file, hexadecimal; "" without one.
        iteration: after how many steps of training; None if it is not known.
    """

    checkpoint: str = ""
    sha256: str = ""
    iteration: int | None = None

    @classmethod
    def of_file(cls, path: str | Path, iteration: int | None = None) -> Origin:
        """The origin of weights that were loaded from a file; an empty one where there is no such file."""
        if not path or not Path(path).is_file():
            return cls(iteration=iteration)
        return cls(str(path), file_sha256(path), iteration)


def file_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def describe_run(origin: Origin, cfg: CfgNode, vocabulary: Sequence[str]) -> dict[str, Any]:
    """What `results.json` says under "run": checkpoint, iteration, vocabulary, versions, date and configuration.

    Args:
        origin: of the weights.
        cfg: of the run; its text is stored whole, so that the run can be repeated.
        vocabulary: the classes that the model was asked for, each with its synonyms.
    """
    return {
        "checkpoint": {"file": origin.checkpoint or None, "sha256": origin.sha256 or None},
        "iteration": origin.iteration,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **installed_versions()},
        "vocabulary": list(vocabulary),
        "configuration": cfg.dump(),
    }


def installed_versions() -> dict[str, str]:
    """Versions of the packages that numbers may depend on; one that was not installed by pip is left out."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
