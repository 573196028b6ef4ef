"""Compare semantic label maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fcclip.evaluation.metrics.histogram import PairCounts, count_pairs
from fcclip.files.images import LabelMapError


def to_label_map(prediction: Any, classes: int) -> np.ndarray:
    """The label map of a semantic prediction.

    Args:
        prediction: scores (C, h, w), whose arg-max is taken where they lie, or labels (h, w); tensor or array.
        classes: C.

    Raises:
        LabelMapError: neither shape.
    """
    tensor = torch.as_tensor(prediction)
    if tensor.ndim == 3:
        if tensor.shape[0] != classes:
            raise LabelMapError(
                f"the prediction has scores of {tensor.shape[0]} classes, the dataset has {classes}; "
                "was the model given this dataset's vocabulary?"
            )
        tensor = tensor.argmax(dim=0)
    if tensor.ndim != 2 or tensor.is_floating_point():
        raise LabelMapError(
            f"expected scores (C, h, w) or integer labels (h, w), got {tensor.dtype} of shape {tuple(tensor.shape)}"
        )
    return tensor.cpu().numpy()


def compare_label_maps(predicted: np.ndarray, true: np.ndarray, classes: int, ignore_label: int) -> PairCounts:
    """Count pairs of (predicted, true) labels where the ground truth is known.

    Args:
        predicted: (h, w) labels; `ignore_label` stands for "no class", which is always wrong.
        true: (h, w) labels; pixels of `ignore_label` are left out.
        classes: labels lie in [0, classes).
        ignore_label: one label more, anywhere outside this range.

    Returns:
        Pairs whose first label is in [0, classes], where `classes` means "no class", and the second in [0, classes).

    Raises:
        LabelMapError: the sizes differ, or a label is out of range.
    """
    if predicted.shape != true.shape:
        raise LabelMapError(
            f"the prediction has {predicted.shape} pixels, the ground truth {true.shape} (height, width)"
        )
    for labels, whose in ((predicted, "prediction"), (true, "ground truth")):
        if labels.size and labels.min() < 0:
            raise LabelMapError(f"the {whose} has label {labels.min()}; labels start at 0")
    pairs = count_pairs(predicted, true)
    for labels, whose in ((pairs.first, "prediction"), (pairs.second, "ground truth")):
        unknown = labels[(labels >= classes) & (labels != ignore_label)]
        if unknown.size:
            raise LabelMapError(
                f"the {whose} has label {unknown[0]}, but there are {classes} classes (and ignore label {ignore_label})"
            )
    known = pairs.second != ignore_label
    first = np.where(pairs.first == ignore_label, classes, pairs.first)
    return PairCounts(first[known], pairs.second[known], pairs.pixels[known])
