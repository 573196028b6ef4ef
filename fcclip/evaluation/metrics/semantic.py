"""Semantic segmentation metrics from a confusion matrix, with both conventions about absent classes.

What to do with a class that the model predicted somewhere, but that no ground-truth pixel has? Detectron2 v0.6 (2021)
and mmsegmentation count its IoU as 0; later Detectron2, with which FC-CLIP's published logs were made, leaves it out.
On PASCAL Context with 459 classes, many of which are absent, the same predictions score 13.8 or 18.2.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fcclip.evaluation.metrics.histogram import PairCounts, count_pairs
from fcclip.files.images import LabelMapError

ABSENT_AS_ZERO = "_absent_as_zero"  # suffix of metrics under the other convention
CONVENTIONS = {
    "mIoU": "classes without a ground-truth pixel are left out (Detectron2 after v0.6, as in FC-CLIP's published logs)",
    f"mIoU{ABSENT_AS_ZERO}": "classes that were predicted but have no ground-truth pixel count as IoU 0 "
    "(Detectron2 v0.6 of 2021, mmsegmentation)",
}


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


def add_pairs(confusion: np.ndarray, pairs: PairCounts) -> None:
    """Add the counts of one image to a [predicted, true] confusion matrix, in place."""
    confusion[pairs.first, pairs.second] += pairs.pixels


def image_iou(pairs: PairCounts, classes: int) -> float | None:
    """Mean IoU, 0 to 1, over the classes in the ground truth or prediction of one image; None without ground truth."""
    if not pairs.pixels.size:
        return None
    labels, dense = np.unique(np.concatenate([pairs.first, pairs.second]), return_inverse=True)
    size, known = len(labels), labels < classes
    matrix = np.zeros((size, size), np.int64)
    matrix[dense[: len(pairs.first)], dense[len(pairs.first) :]] = pairs.pixels
    correct = np.diagonal(matrix)
    return float(np.mean((correct / (matrix.sum(axis=0) + matrix.sum(axis=1) - correct))[known]))


def semantic_metrics(confusion: np.ndarray, unseen: Collection[int] = ()) -> dict[str, float]:
    """All averages over classes and pixels.

    Args:
        confusion: (C + 1, C) int64 pixels, [predicted, true]; the last row counts pixels that were given no class.
            Pixels without ground truth are not in it.
        unseen: classes not seen in training.

    Returns:
        Values from 0 to 100, NaN where undefined. mIoU, fwIoU (IoU weighted by ground-truth pixels), mACC (mean
        accuracy of classes), pACC (pixel accuracy), mIoU_absent_as_zero; with `unseen` also mIoU_seen, mIoU_unseen and
        their harmonic mean hIoU, each under both conventions.

    Examples:
        Two classes; of four true pixels of the first, one is taken for the second:

        >>> confusion = np.array([[3, 0], [1, 4], [0, 0]])
        >>> metrics = semantic_metrics(confusion)
        >>> metrics["mIoU"], metrics["pACC"]
        (77.5, 87.5)
    """
    iou, accuracy = class_scores(confusion)
    true_pixels = confusion.sum(axis=0)
    present = true_pixels > 0
    total = true_pixels.sum()
    metrics = {
        "mIoU": _mean(iou[present]),
        "fwIoU": float(np.sum(iou[present] * true_pixels[present] / total)) if total else float("nan"),
        "mACC": _mean(accuracy[present]),
        "pACC": float(100 * np.diagonal(confusion).sum() / total) if total else float("nan"),
        f"mIoU{ABSENT_AS_ZERO}": _mean_absent_as_zero(confusion, iou, np.ones(len(iou), bool)),
    }
    if unseen:
        metrics |= _split_metrics(confusion, iou, unseen)
    return metrics


def class_scores(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """IoU and accuracy (recall) of each class, 0 to 100: two (C,) arrays, NaN for classes without ground truth."""
    classes = confusion.shape[1]
    correct = np.diagonal(confusion).astype(float)
    true_pixels, predicted_pixels = confusion.sum(axis=0), confusion[:classes].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = 100 * correct / (true_pixels + predicted_pixels - correct)
        accuracy = 100 * correct / true_pixels
    iou[true_pixels == 0] = np.nan
    return iou, accuracy


def harmonic_mean(seen: float, unseen: float) -> float:
    """2 s u / (s + u), 0 if both are 0."""
    return 2 * seen * unseen / (seen + unseen) if seen + unseen else 0.0


def _split_metrics(confusion: np.ndarray, iou: np.ndarray, unseen: Collection[int]) -> dict[str, float]:
    is_unseen = np.zeros(len(iou), bool)
    is_unseen[list(unseen)] = True
    metrics = {}
    for suffix in ("", ABSENT_AS_ZERO):
        means = {}
        for split, members in (("seen", ~is_unseen), ("unseen", is_unseen)):
            present = members & ~np.isnan(iou)
            means[split] = _mean_absent_as_zero(confusion, iou, members) if suffix else _mean(iou[present])
            metrics[f"mIoU_{split}{suffix}"] = means[split]
        metrics[f"hIoU{suffix}"] = harmonic_mean(means["seen"], means["unseen"])
    return metrics


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if values.size else float("nan")


def _mean_absent_as_zero(confusion: np.ndarray, iou: np.ndarray, members: np.ndarray) -> float:
    occurring = members & ((confusion.sum(axis=0) + confusion[: len(iou)].sum(axis=1)) > 0)
    return _mean(np.nan_to_num(iou[occurring], nan=0.0))
