"""What lies in a folder, so that two of them can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from fcclip.files.checkpoints import read_checkpoint

LOG_PERIOD = 2  # iterations from one line of metrics.json to the next
Reader = Callable[[Path], object]
TIMES = {
    "time",
    "data_time",
    "rank_data_time",
    "eta_seconds",
    "seconds",
    "seconds_per_image",
    "memory",
    "worker",
    "run",
    "eval_time",
}


def contents(folder: Path, varies: tuple[str, ...], readers: Mapping[str, Reader]) -> dict[str, object]:
    """Path -> what is in the file, for all files and empty folders.

    Args:
        folder: the folder.
        varies: patterns of paths that are left out.
        readers: patterns of paths whose content is not compared byte by byte.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(fnmatch(name, pattern) for pattern in varies):
            continue
        if path.is_dir():
            if not any(path.iterdir()):
                found[f"{name}/"] = "a folder"
            continue
        reader = next((reader for pattern, reader in readers.items() if fnmatch(name, pattern)), digest)
        found[name] = reader(path)
    return found


def differences(expected: Mapping[str, object], found: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Files that are missing or other, and files that should not be there."""
    wrong = [f"{name} is missing" for name in expected if name not in found]
    for name in expected.keys() & found.keys():
        if found[name] != expected[name]:
            wrong.append(f"{name} is other{_first_difference(expected[name], found[name])}")
    return wrong, [name for name in found if name not in expected]


def _first_difference(expected: object, found: object) -> str:
    if not isinstance(expected, list) or not isinstance(found, list):
        return ""
    if len(expected) != len(found):
        return f" ({len(found)} entries instead of {len(expected)}: {str(found)[:200]} and not {str(expected)[:200]})"
    one, other = next(pair for pair in zip(expected, found, strict=True) if pair[0] != pair[1])
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        one, other = ({key: values.get(key) for key in keys} for values in (one, other))
    return f" ({other} instead of {one})"


def digest(path: Path) -> str:
    """Of the bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pixels(path: Path) -> object:
    """Of an image, less what else the file tells."""
    with Image.open(path) as image:
        return image.size, image.mode, image.tobytes()


def tensors(path: Path) -> object:
    """Names, shapes and bytes of all tensors of a checkpoint."""
    return {name: (value.shape, value.numpy().tobytes()) for name, value in _flat("", read_checkpoint(path))}


def without_times(path: Path) -> object:
    """A JSON file, or the lines of one, less what was measured with a clock."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json" and text.startswith("{\n"):
        return _untimed(json.loads(text))
    return [_untimed(json.loads(line)) for line in text.splitlines()]


def without_seconds(path: Path) -> object:
    """The lines of a text, less those that tell when something was done and how long it took."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and "s per image" not in line and not line.startswith("Weights:")]


def iterations(path: Path) -> object:
    """Of the lines of metrics.json that every run writes; one that is told to stop writes one more.

    What they hold is smoothed over as many iterations as the process has seen.
    """
    found = [json.loads(line)["iteration"] for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted({number for number in found if number % LOG_PERIOD == LOG_PERIOD - 1 or number == found[-1]})


def journal(path: Path) -> object:
    """The entries of a journal, in any order."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    return lines[0], {json.dumps(json.loads(line), sort_keys=True) for line in lines[1:]}


def _flat(name: str, value: Any) -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _flat(f"{name}/{key}", inner)]
    return []


def _untimed(value: Any) -> Any:
    if isinstance(value, list):
        return [_untimed(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: _untimed(one) for key, one in value.items() if key not in TIMES and not key.endswith("_mb")}
