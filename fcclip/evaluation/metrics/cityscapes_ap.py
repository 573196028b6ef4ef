"""Cityscapes' instance AP: matching and precision as in the official script, on what each image boils down to.

It differs from COCO's AP: a match needs an IoU above (not at) the threshold; of several detections above it on one
instance all but the best are false positives; detections that lie on void pixels, on groups or on instances of less
than 100 pixels to more than the threshold are left out; and the precision-recall curve is integrated in steps, without
interpolation.

Source: https://github.com/mcordts/cityscapesScripts, evaluation/evalInstanceLevelSemanticLabeling.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fcclip.evaluation.metrics.cityscapes_labels import FIRST_INSTANCE, IGNORED_IDS, THINGS, label_of_instance

OVERLAPS = np.arange(0.5, 1.0, 0.05)
MINIMUM_PIXELS = 100
THING_IDS = tuple(label.id for label in THINGS)


@dataclass(frozen=True)
class ImageMatches:
    """Instances of one image and how they overlap; `to_json` and `from_json` store it.

    Attributes:
        true: for each ground-truth region of a thing class: label id, whether it is an instance (not a group), pixels.
        predicted: for each detection: label id, score, pixels, pixels on void.
        shared: (index of the detection, index of the region, pixels), for equal labels only.
    """

    true: list[tuple[int, bool, int]] = field(default_factory=list)
    predicted: list[tuple[int, float, int, int]] = field(default_factory=list)
    shared: list[tuple[int, int, int]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {"true": self.true, "predicted": self.predicted, "shared": self.shared}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ImageMatches:
        return cls(content["true"], content["predicted"], content["shared"])


def match_image(
    instance_ids: np.ndarray, masks: Iterable[np.ndarray], labels: Sequence[int], scores: Sequence[float]
) -> ImageMatches:
    """Overlaps between the detections and the ground truth of one image.

    Args:
        instance_ids: (H, W) values of `*_gtFine_instanceIds.png`.
        masks: (H, W) bool each.
        labels: Cityscapes label id of each detection; those of no thing class are left out.
        scores: confidence of each detection.

    Raises:
        ValueError: a mask has another size than the ground truth.
    """
    values, regions = np.unique(instance_ids, return_inverse=True)
    regions = regions.reshape(instance_ids.shape)
    areas, region_labels = np.bincount(regions.reshape(-1)), label_of_instance(values)
    void = np.isin(values, IGNORED_IDS)
    matches = ImageMatches()
    position: dict[int, int] = {}
    for region in np.flatnonzero(np.isin(region_labels, THING_IDS)):
        position[int(region)] = len(matches.true)
        is_instance = bool(values[region] >= FIRST_INSTANCE)
        matches.true.append((int(region_labels[region]), is_instance, int(areas[region])))
    for mask, label, score in zip(masks, labels, scores, strict=True):
        if mask.shape != instance_ids.shape:
            raise ValueError(f"a mask has {mask.shape} pixels, the ground truth {instance_ids.shape} (height, width)")
        if label not in THING_IDS or not mask.any():
            continue
        covered = np.bincount(regions[mask], minlength=len(values))
        same = [region for region in np.flatnonzero(covered).tolist() if region_labels[region] == label]
        index = len(matches.predicted)
        matches.shared.extend((index, position[region], int(covered[region])) for region in same)
        matches.predicted.append((label, float(score), int(covered.sum()), int(covered[void].sum())))
    return matches


def average_precisions(images: Sequence[ImageMatches]) -> np.ndarray:
    """AP of each thing class at each overlap: (8, 10), 0 to 1; NaN for a class without instances."""
    return np.array([[_class_precision(images, label, overlap) for overlap in OVERLAPS] for label in THING_IDS])


def _class_precision(images: Sequence[ImageMatches], label: int, overlap: float) -> float:
    scores: list[float] = []
    correct: list[bool] = []
    missed, have_truth, have_predictions = 0, False, False
    for image in images:
        counted = {
            region
            for region, (region_label, is_instance, pixels) in enumerate(image.true)
            if region_label == label and is_instance and pixels >= MINIMUM_PIXELS
        }
        have_truth |= bool(counted)
        have_predictions |= any(prediction[0] == label for prediction in image.predicted)
        found = _judge(image, label, overlap, counted, scores, correct)
        missed += len(counted) - found
    if not have_truth:
        return float("nan")
    return _area_under_curve(np.array(scores), np.array(correct, dtype=bool), missed) if have_predictions else 0.0


def _judge(
    image: ImageMatches, label: int, overlap: float, counted: set[int], scores: list[float], correct: list[bool]
) -> int:
    """Append scores and correctness of the image's detections that count; returns how many instances were found."""
    matched: dict[int, list[float]] = {}
    has_match: set[int] = set()
    excused = [void for _, _, _, void in image.predicted]
    for index, region, pixels in image.shared:
        predicted_label, score, predicted_pixels, _ = image.predicted[index]
        if predicted_label != label:
            continue
        _, is_instance, true_pixels = image.true[region]
        # A small group is both, and the official script counts its pixels twice.
        excused[index] += pixels * (int(not is_instance) + int(true_pixels < MINIMUM_PIXELS))
        if pixels / (true_pixels + predicted_pixels - pixels) > overlap:
            has_match.add(index)
            if region in counted:
                matched.setdefault(region, []).append(score)
    for candidates in matched.values():
        best = max(candidates)
        scores += [best, *sorted(candidates)[:-1]]
        correct += [True] + [False] * (len(candidates) - 1)
    for index, (predicted_label, score, pixels, _) in enumerate(image.predicted):
        if predicted_label == label and index not in has_match and excused[index] / pixels <= overlap:
            scores.append(score)
            correct.append(False)
    return len(matched)


def _area_under_curve(scores: np.ndarray, correct: np.ndarray, missed: int) -> float:
    """Area under the precision-recall curve, a point for each distinct score and one at recall 0, precision 1.

    A point's width is half the distance between its neighbours' recalls.
    """
    if not scores.size:
        return 0.0
    order = np.argsort(scores, kind="stable")
    _, first = np.unique(scores[order], return_index=True)
    correct_below = np.concatenate(([0], np.cumsum(correct[order])))[first]
    total = correct.sum()
    true_positives = total - correct_below
    precision = np.append(true_positives / (len(scores) - first), 1.0)
    instances = total + missed
    recall = np.append(true_positives / instances, 0.0)
    padded = np.concatenate((recall[:1], recall, [0.0]))
    return float(precision @ (0.5 * (padded[:-2] - padded[2:])))
