"""Timings of computations that ran in turns, as tables and as a plot."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Timing:
    """Seconds of each run: the whole, and by part."""

    total: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def median(self, part: str = "") -> float:
        """The median in seconds; 0 for a part that was not run on its own."""
        seconds = self.parts.get(part, [0.0]) if part else self.total
        return statistics.median(seconds)

    def ratio(self, baseline: Timing) -> float:
        """The median over the turns of this total to that of the baseline."""
        return statistics.median(own / base for own, base in zip(self.total, baseline.total, strict=True))


def print_table(title: str, timings: dict[str, Timing]) -> None:
    """Seconds of each computation, its ratio to the first, and seconds by part."""
    print(f"\n{title}")
    parts = list(dict.fromkeys(part for timing in timings.values() for part in timing.parts))
    print(f"{'':22}{'total':>9}{'ratio':>8}" + "".join(f"{part:>21}" for part in parts))
    baseline = next(iter(timings.values()))
    for name, timing in timings.items():
        ratio = timing.ratio(baseline)
        cells = "".join(f"{timing.median(part):21.3f}" for part in parts)
        print(f"{name:22}{timing.median():8.2f}s{ratio:8.2f}{cells}")


def print_growth(labels: Sequence[str], measured: Sequence[dict[str, Timing]]) -> None:
    """How the time of each computation grows from the first setting to the others."""
    names = list(measured[0])
    print(f"\n{'times the first':22}" + "".join(f"{name:>14}" for name in names))
    for label, timings in zip(labels, measured, strict=True):
        print(f"{label:22}" + "".join(f"{timings[name].ratio(measured[0][name]):14.2f}" for name in names))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Bars of the parts of each computation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.5 * len(rows)), layout="constrained")
    labels = [f"{row['computation']}\n{row['label']}" for row in rows]
    left = [0.0] * len(rows)
    for part in dict.fromkeys(part for row in rows for part in row["parts"]):
        widths = [row["parts"].get(part, 0.0) for row in rows]
        axes.barh(labels, widths, left=left, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend()
    figure.savefig(path, dpi=120)
