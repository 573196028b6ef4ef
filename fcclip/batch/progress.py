"""How far a run is: images per second of all and of each worker, failures, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections import Counter
from datetime import timedelta
from typing import IO, Any

from fcclip.batch.worker import Receipt

INTERVAL = 5.0  # seconds between two lines
MOST_WORKERS = 8  # that a line names; of more, the slowest


class Progress:
    """Tells on standard error how a run goes.

    Args:
        total: images that are to be done.
        stream: where to.
    """

    def __init__(self, total: int, stream: IO[str] | None = None) -> None:
        self.total, self.images, self.failed = total, 0, 0
        self._stream = stream or sys.stderr
        self._start = self._told = time.monotonic()
        self._by_worker: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}

    def add(self, receipt: Receipt) -> None:
        """Count a part; a line follows if the last one is old."""
        self.images += receipt.images
        self.failed += receipt.failed
        self._by_worker[receipt.worker] += receipt.images
        spent = sum(receipt.seconds.values())
        self._seconds[receipt.worker] = self._seconds.get(receipt.worker, 0.0) + spent
        if receipt.first_error:
            print(f"failed: {receipt.first_error}", file=self._stream)
        if time.monotonic() - self._told >= INTERVAL or self.images >= self.total:
            self._told = time.monotonic()
            print(self.line(), file=self._stream, flush=True)

    def line(self) -> str:
        """Everything in one line."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self.images / elapsed
        left = str(timedelta(seconds=round((self.total - self.images) / rate))) if rate else "unknown"
        rates = {name: count / max(self._seconds[name], 1e-9) for name, count in self._by_worker.items()}
        slowest = sorted(rates.items(), key=lambda pair: pair[1])[:MOST_WORKERS]
        workers = ", ".join(f"{name} {value:.2f}/s" for name, value in sorted(slowest))
        more = f" (slowest of {len(rates)})" if len(rates) > MOST_WORKERS else ""
        return (
            f"{self.images} of {self.total} images, {rate:.2f} images/s, {self.failed} failed, {left} left; "
            f"workers{more}: {workers}"
        )

    def summary(self) -> dict[str, Any]:
        """What the manifest says of this run."""
        elapsed = time.monotonic() - self._start
        return {
            "images": self.images,
            "failed": self.failed,
            "elapsed_seconds": round(elapsed, 3),
            "images_per_second": round(self.images / max(elapsed, 1e-9), 3),
            "workers": dict(self._by_worker),
        }
