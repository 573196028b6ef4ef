"""Predicted instances as COCO result records: small enough to keep for a whole dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pycocotools.mask as rle_codec
import torch
from detectron2.structures import Instances

from fcclip.evaluation.base import NAN_ADVICE
from fcclip.files.rle import encode_mask

Detection = dict[str, Any]


def encode_instances(instances: Instances, image_id: int | str) -> list[Detection]:
    """COCO result records of the instances of one image.

    Args:
        instances: with `scores`, `pred_classes` and `pred_masks` (n, h, w); `pred_boxes` in pixels (x1, y1, x2, y2).
            Boxes that are missing or all zero, as the published FC-CLIP returns them, are taken from the masks.
        image_id: written into every record.

    Raises:
        ValueError: a score is NaN or infinite.

    Returns:
        Records with `image_id`, `category_id` (as in `pred_classes`), `score`, `bbox` (x, y, width, height) and
        `segmentation`.
    """
    if not torch.isfinite(instances.scores).all():
        raise ValueError(f"image {image_id!r}: the scores of the model's instances are NaN or infinite; {NAN_ADVICE}")
    rles = [encode_mask((mask != 0).cpu().numpy()) for mask in instances.pred_masks]
    return [
        {"image_id": image_id, "category_id": category, "score": score, "bbox": box, "segmentation": rle}
        for category, score, box, rle in zip(
            instances.pred_classes.tolist(), instances.scores.tolist(), _boxes(instances, rles), rles, strict=True
        )
    ]


def _boxes(instances: Instances, rles: list[dict[str, Any]]) -> list[list[float]]:
    if instances.has("pred_boxes"):
        corners = instances.pred_boxes.tensor.cpu().double()
        if corners.any():
            return torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
    return np.asarray(rle_codec.toBbox(rles)).reshape(-1, 4).tolist() if rles else []
