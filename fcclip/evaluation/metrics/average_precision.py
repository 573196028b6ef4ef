"""Reading COCOeval's tables, in which -1 stands for "undefined"."""

from __future__ import annotations

import numpy as np


def mean_precision(precision: np.ndarray) -> float:
    """Mean of the entries that are defined (not -1), 0 to 100; NaN if none is."""
    defined = precision[precision > -1]
    return float(100 * np.mean(defined)) if defined.size else float("nan")


def percent(value: float) -> float:
    """0 to 1 -> 0 to 100; NaN for -1."""
    return float(100 * value) if value >= 0 else float("nan")


def image_precision(iou: np.ndarray, threshold: float = 0.5) -> float:
    """Average precision of the detections of one class in one image, 0 to 1.

    Args:
        iou: (D, G) of detections, the surest first, with the true objects; G is at least 1.
        threshold: least IoU of a match; each object is matched once, by the surest detection that fits.

    Returns:
        The mean over the objects of the precision at the detection that found it; 0 for one that none found.
    """
    found: set[int] = set()
    precisions = []
    for rank, row in enumerate(iou, start=1):
        free = [column for column in np.flatnonzero(row >= threshold).tolist() if column not in found]
        if free:
            found.add(max(free, key=lambda column: row[column]))
            precisions.append(len(found) / rank)
    return float(sum(precisions) / iou.shape[1])
