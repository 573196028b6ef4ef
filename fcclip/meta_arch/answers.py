"""From a model's answer to plain data: arrays instead of tensors, and names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fcclip.formats.result import ClassScore, Instances, Segment, describe_segments
from fcclip.meta_arch.base import QueryScores
from fcclip.vocabulary import Vocabulary

NEAREST_CLASSES = 5  # that a segment tells the scores of


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
    best = reasons.joint.topk(min(NEAREST_CLASSES, len(vocabulary)), dim=1).indices
    columns = [table.gather(1, best).tolist() for table in (reasons.joint, reasons.in_vocab, reasons.out_vocab)]
    explained = []
    for segment, ids_of_classes, *scores, embedding in zip(
        segments, best.tolist(), *columns, reasons.embeddings.cpu().numpy(), strict=True
    ):
        names = [vocabulary.categories[category_id].name for category_id in ids_of_classes]
        nearest = tuple(ClassScore(*values) for values in zip(names, ids_of_classes, *scores, strict=True))
        explained.append(replace(segment, scores=nearest, embedding=embedding))
    return panoptic, tuple(explained)


def to_instances(found: Any) -> Instances:
    """Detectron2's instances, as users get them."""
    found = found.to("cpu")
    return Instances(
        masks=found.pred_masks.numpy().astype(bool),
        boxes=found.pred_boxes.tensor.numpy().astype(np.float32),
        scores=found.scores.numpy().astype(np.float32),
        category_ids=found.pred_classes.numpy().astype(np.int64),
    )
