"""From annotations to training targets: one boolean mask and one class for each segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from fcclip.data.mappers.frame import Frame
from fcclip.files.panoptic import ID_LIMIT

# Marks are bytes: 0 says "none of these segments", and 255 is what Detectron2 pads segmentations with.
MARKS = 254


def segment_targets(
    ids: np.ndarray, segments: Sequence[Mapping[str, Any]], frame: Frame, drop_vanished: bool
) -> Instances:
    """Targets of a panoptic annotation.

    Args:
        ids: (H, W) segment ids of the whole image.
        segments: records with "id", contiguous "category_id" and, for some, "iscrowd".
        frame: what was done to the image.
        drop_vanished: leave out segments of which the frame shows nothing; else their masks are empty.

    Returns:
        Instances with gt_classes, gt_masks (n, h, w) bool and gt_boxes; crowds are left out.
    """
    segments = [segment for segment in segments if not segment.get("iscrowd", 0)]
    masks = np.empty((len(segments), *frame.size), dtype=bool)
    for first in range(0, len(segments), MARKS):
        few = slice(first, first + MARKS)
        _fill_masks(masks[few], [segment["id"] for segment in segments[few]], ids, frame)
    return make_targets(masks, [segment["category_id"] for segment in segments], drop_vanished)


def label_map_targets(labels: np.ndarray, ignore_label: int) -> Instances:
    """Targets of an (h, w) integer map of classes: one mask for each class that it shows, but `ignore_label`."""
    classes = np.unique(labels)
    classes = classes[classes != ignore_label]
    return make_targets(labels[None] == classes[:, None, None], classes)


def annotation_targets(annotations: Sequence[Mapping[str, Any]], frame: Frame, drop_empty: bool) -> Instances:
    """Targets of instance annotations ("segmentation", contiguous "category_id"); crowds are left out."""
    annotations = [annotation for annotation in annotations if not annotation.get("iscrowd", 0)]
    masks = np.empty((len(annotations), *frame.size), dtype=bool)
    for mask, annotation in zip(masks, annotations, strict=True):
        segmentation = annotation.get("segmentation")
        if segmentation is None or len(segmentation) == 0:
            raise ValueError("an annotation has a box but no mask; draw masks, or remove it")
        mask[...] = frame.place_segmentation(segmentation)
    return make_targets(masks, [annotation["category_id"] for annotation in annotations], drop_empty)


def make_targets(masks: np.ndarray, classes: Sequence[int] | np.ndarray, drop_empty: bool = False) -> Instances:
    """Join (n, h, w) bool masks and n classes; the box of an empty mask is all zero."""
    labels = np.asarray(classes, dtype=np.int64)
    boxes = boxes_of(masks)
    if drop_empty:
        shown = boxes[:, 2] > 0
        masks, labels, boxes = masks[shown], labels[shown], boxes[shown]
    targets = Instances(masks.shape[-2:])
    targets.gt_classes = torch.from_numpy(labels)
    targets.gt_masks = torch.from_numpy(masks)
    targets.gt_boxes = Boxes(torch.from_numpy(boxes))
    return targets


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Tight boxes of (n, h, w) bool masks: (n, 4) float32 x0, y0, x1, y1, the latter two exclusive."""
    first_column, end_column = _extent(np.any(masks, axis=1))
    first_row, end_row = _extent(np.any(masks, axis=2))
    return np.stack([first_column, first_row, end_column, end_row], axis=1).astype(np.float32)


def _fill_masks(masks: np.ndarray, segment_ids: Sequence[int], ids: np.ndarray, frame: Frame) -> None:
    """Write the masks of at most `MARKS` segments.

    The wide ids are replaced by bytes before anything else, so that resizing and comparing touch few bytes; all masks
    then come from one comparison.
    """
    marks = np.arange(1, len(segment_ids) + 1, dtype=np.uint8)
    lookup = np.zeros(ID_LIMIT, dtype=np.uint8)
    lookup[segment_ids] = marks
    np.equal(frame.place(lookup[ids])[None], marks[:, None, None], out=masks)


def _extent(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position of the first True, and one past the last, in each row of (n, length); 0 and 0 for a row without any."""
    length = occupied.shape[1]
    any_true = occupied.any(axis=1)
    first = occupied.argmax(axis=1)
    end = length - occupied[:, ::-1].argmax(axis=1)
    return first * any_true, end * any_true
