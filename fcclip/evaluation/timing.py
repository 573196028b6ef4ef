"""How long the parts of an evaluation take."""

from __future__ import annotations

import time

import torch

WARMUP_IMAGES = 5  # not counted if there are more: caches fill, kernels are chosen


class Stopwatch:
    """Seconds of each image: in the model alone ("pure") and altogether; the first, with text encoding, apart."""

    def __init__(self) -> None:
        self._images = self._counted = 0
        self._pure = self._total = self._first = self._model = 0.0
        self._last = time.perf_counter()

    def start_model(self) -> None:
        """Call before the model runs."""
        self._model = -_now()

    def stop_model(self) -> None:
        """Call when its results are there."""
        self._model += _now()

    def stop_images(self, images: int) -> None:
        """Call when a batch is evaluated; its time began when the one before was."""
        if self._images == WARMUP_IMAGES:
            self._counted, self._pure, self._total = 0, 0.0, 0.0
        now = time.perf_counter()
        if not self._images:
            self._first = now - self._last
        self._pure, self._total = self._pure + self._model, self._total + now - self._last
        self._images, self._counted, self._last = self._images + images, self._counted + images, now

    def averages(self) -> dict[str, float]:
        """Seconds per image of this process: `pure`, `total` (without the first five images) and `first`."""
        if not self._counted:
            return {}
        return {"pure": self._pure / self._counted, "total": self._total / self._counted, "first": self._first}


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
