"""Keeps the images on which the model did worst, as pictures to be, while the evaluation runs."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcclip.evaluation.base import Comparison
from fcclip.files.atomic import atomic_path

LONGEST_SIDE = 800  # pixels; larger maps are thinned out, for they are only looked at


@dataclass(frozen=True)
class BadImage:
    """An image, its score from 0 to 1, and what was true and predicted there."""

    score: float
    file_name: str
    comparison: Comparison


class WorstImages:
    """The `limit` images of lowest score, kept in files so that neither memory nor an interruption matters.

    Args:
        folder: holds one .npz file an image; those of an interrupted evaluation count.
        limit: how many are kept.
        rank: process number; processes share the folder, each keeps `limit` images of its own.
    """

    def __init__(self, folder: Path, limit: int, rank: int = 0) -> None:
        self._folder = folder
        self._limit = limit
        self._rank = rank
        # The image to be dropped first is the best one, and heapq gives the smallest.
        self._heap = [(-_score_of(path), path) for path in folder.glob(f"rank{rank}_*.npz")]
        heapq.heapify(self._heap)

    def offer(self, score: float | None, file_name: str, compare: Callable[[], Comparison]) -> None:
        """Keep the image if it is among the worst; `compare` is only called then."""
        if score is None or self._limit < 1:
            return
        if len(self._heap) >= self._limit and score >= -self._heap[0][0]:
            return
        path = self._write(score, file_name, compare())
        heapq.heappush(self._heap, (-score, path))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)[1].unlink(missing_ok=True)

    def all_processes(self) -> list[BadImage]:
        """The worst images of all processes that share the folder, worst first."""
        paths = sorted(self._folder.glob("rank*.npz"), key=lambda path: (_score_of(path), path.name))
        # An image whose evaluation was interrupted after this may have been repeated by another process.
        distinct = {_image_of(path): path for path in reversed(paths)}
        return [_read(path) for path in reversed(list(distinct.values()))][: self._limit]

    def _write(self, score: float, file_name: str, comparison: Comparison) -> Path:
        image = hashlib.sha256(file_name.encode()).hexdigest()[:16]
        path = self._folder / f"rank{self._rank}_{image}_{score:.6f}.npz"
        step = -(-max(comparison.true.shape) // LONGEST_SIDE)
        maps = {name: labels[::step, ::step] for name, labels in vars(comparison).items()}
        with atomic_path(path) as scratch:
            np.savez_compressed(scratch, file_name=np.array(file_name), **maps)
        return path


def _image_of(path: Path) -> str:
    return path.stem.split("_")[1]


def _score_of(path: Path) -> float:
    return float(path.stem.rsplit("_", 1)[1])


def _read(path: Path) -> BadImage:
    with np.load(path, allow_pickle=False) as content:
        fields = ("true", "predicted", "true_segments", "predicted_segments")
        comparison = Comparison(**{name: content[name] for name in fields})
        return BadImage(_score_of(path), str(content["file_name"]), comparison)
