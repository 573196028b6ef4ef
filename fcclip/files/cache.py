"""Text embeddings on disk, shared by all processes of a user."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fcclip.files.atomic import atomic_path
from fcclip.files.folders import cache_directory

logger = logging.getLogger(__name__)

FILES = 64  # so that a few new names cost a few small files, however many are kept
MAX_NAMES = 800  # per file, 2.5 MB; a fuller one starts anew


class TextCache:
    """Embeddings of names under one fingerprint, in files that are replaced as a whole.

    Writers may overlap: the last one wins, and what the other one added is encoded again some day. A damaged file is
    noticed by its digest, one with other rows than this model's by their shape and values, and thrown away. A folder
    that cannot be written costs the cache, never the result.

    Args:
        fingerprint: digest of the text tower, its description and the templates.
        directory: where the files lie; by default `cache_directory`.
        width: E, the width of the embeddings; None takes what a file has.
    """

    def __init__(self, fingerprint: str, directory: Path | None = None, width: int | None = None) -> None:
        self._width = width
        self._start = (directory or cache_directory()) / "text" / fingerprint[:32]

    def path_of(self, name: str) -> Path:
        """The file that a name belongs to."""
        number = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[0] % FILES
        return self._start.with_name(f"{self._start.name}-{number:02d}.safetensors")

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """The rows (E,) of those names that are there; each keeps no more in memory than itself."""
        files = self._by_file(names)
        return {name: row for path, part in files.items() for name, row in _File(path, self._width).read(part).items()}

    def add(self, embeddings: Mapping[str, Tensor]) -> None:
        """Store rows (E,) by name, next to those that are there."""
        try:
            for path, names in self._by_file(embeddings).items():
                _File(path, self._width).add({name: embeddings[name] for name in names})
        except OSError as error:
            logger.warning("text embeddings are not kept: %s; set FCCLIP_CACHE to a writable folder", error)

    def _by_file(self, names: Iterable[str]) -> dict[Path, list[str]]:
        found: dict[Path, list[str]] = {}
        for name in names:
            found.setdefault(self.path_of(name), []).append(name)
        return found


class _File:
    """One of the files, which may not be there yet."""

    def __init__(self, path: Path, width: int | None) -> None:
        self.path, self._width = path, width

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        known, rows = self._load()
        return {name: rows[known[name]].clone() for name in names if name in known}

    def add(self, embeddings: Mapping[str, Tensor]) -> None:
        known, rows = self._load()
        merged = {name: rows[index] for name, index in known.items()} if len(known) < MAX_NAMES else {}
        merged.update(embeddings)
        data = torch.stack(list(merged.values())).contiguous()
        metadata = {"names": json.dumps(list(merged)), "digest": _digest(data)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.path) as temporary:
            temporary.write_bytes(save({"embeddings": data}, metadata))

    def _load(self) -> tuple[dict[str, int], Tensor]:
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata()
                rows = file.get_tensor("embeddings")
            names = json.loads(metadata["names"])
            if metadata["digest"] != _digest(rows):
                raise ValueError("its digest does not fit")
            self._check(names, rows)
        except FileNotFoundError:
            return {}, torch.empty(0)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            logger.warning("ignoring the damaged text cache %s: %s", self.path, error)
            return {}, torch.empty(0)
        return {name: index for index, name in enumerate(names)}, rows

    def _check(self, names: Any, rows: Tensor) -> None:
        """Refuse rows that no text tower of this width can have given."""
        if rows.ndim != 2 or rows.dtype != torch.float32 or rows.shape[1] != (self._width or rows.shape[1]):
            raise ValueError(f"its rows are {str(rows.dtype).removeprefix('torch.')} {tuple(rows.shape)}")
        if not isinstance(names, list) or len(names) != len(rows) or not all(isinstance(name, str) for name in names):
            raise ValueError("its names are not those of its rows")
        if not torch.isfinite(rows).all():
            raise ValueError("its rows have values that are no numbers")


def _digest(rows: Tensor) -> str:
    return hashlib.sha256(rows.contiguous().numpy().tobytes()).hexdigest()
