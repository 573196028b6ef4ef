"""Results of trainings that differ in their seeds, put together."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev


def mean_and_deviation(values: Sequence[float]) -> str:
    """As "45.5 ± 1.7"; without a deviation where there is one value."""
    return f"{mean(values):.1f} ± {stdev(values):.1f}" if len(values) > 1 else f"{values[0]:.1f}"
