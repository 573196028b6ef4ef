"""From a model's answer to plain data: arrays instead of tensors, and names."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fcclip.formats.result import Instances, Segment, describe_segments, explain_segments
from fcclip.meta_arch.base import QueryScores
from fcclip.segmentation import Segmentation
from fcclip.vocabulary import Vocabulary


def to_segmentation(
    image: np.ndarray,
    found: dict[str, Any],
    vocabulary: Vocabulary,
    reasons: QueryScores | None,
    instance_threshold: float,
    random_weights: bool,
) -> Segmentation:
    """What a model found in an (H, W, 3) picture, as users get it.

    Args:
        image: uint8 RGB.
        found: the model's answer.
        vocabulary: the classes it was asked for.
        reasons: what each classifier said of the panoptic segments, if there are any.
        instance_threshold: instances that score less are dropped.
        random_weights: whether the model has such.
    """
    panoptic, segments = to_segments(found, vocabulary, reasons)
    instances = to_instances(found["instances"]).best_first(instance_threshold) if "instances" in found else None
    semantic = found["sem_seg"].to("cpu", torch.int32).numpy() if "sem_seg" in found else None
    return Segmentation(image, vocabulary, panoptic, segments, instances, semantic, random_weights)


def to_segments(
    found: dict[str, Any], vocabulary: Vocabulary, reasons: QueryScores | None
) -> tuple[np.ndarray | None, tuple[Segment, ...]]:
    """The panoptic map that a model found, and its segments, with what the classifiers said of each."""
    if "panoptic_seg" not in found:
        return None, ()
    ids, records = found["panoptic_seg"]
    panoptic = ids.cpu().numpy()
    segments = describe_segments(panoptic, records, found["panoptic_scores"], vocabulary)
    if reasons is None:
        return panoptic, segments
    joint, in_vocab, out_vocab, embeddings = (
        table.cpu().numpy() for table in (reasons.joint, reasons.in_vocab, reasons.out_vocab, reasons.embeddings)
    )
    return panoptic, explain_segments(segments, vocabulary, (joint, in_vocab, out_vocab), embeddings)


def to_instances(found: Any) -> Instances:
    """Detectron2's instances, as users get them."""
    found = found.to("cpu")
    return Instances(
        masks=found.pred_masks.numpy().astype(bool),
        boxes=found.pred_boxes.tensor.numpy().astype(np.float32),
        scores=found.scores.numpy().astype(np.float32),
        category_ids=found.pred_classes.numpy().astype(np.int64),
    )
