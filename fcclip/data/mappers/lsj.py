"""Mappers with large-scale jitter: flip, scale by a random factor, cut or pad to a square.

Source: Ghiasi et al., Simple Copy-Paste, CVPR 2021, section 3 (large-scale jitter).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.structures import Instances

from fcclip.data.mappers.base import TrainMapper, random_flip
from fcclip.data.mappers.frame import Frame
from fcclip.data.mappers.reading import require_key
from fcclip.data.mappers.targets import annotation_targets, segment_targets
from fcclip.files.panoptic import read_panoptic_png


class LargeScaleJitterMapper(TrainMapper):
    """Augmentations of INPUT.IMAGE_SIZE, MIN_SCALE and MAX_SCALE."""

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        side = cfg.INPUT.IMAGE_SIZE
        return {
            "is_train": is_train,
            "augmentations": [
                *random_flip(cfg),
                T.ResizeScale(cfg.INPUT.MIN_SCALE, cfg.INPUT.MAX_SCALE, target_height=side, target_width=side),
                T.FixedSizeCrop(crop_size=(side, side)),
            ],
            "image_format": cfg.INPUT.FORMAT,
            "drop_vanished": cfg.INPUT.DROP_VANISHED_SEGMENTS,
        }


class COCOPanopticNewBaselineDatasetMapper(LargeScaleJitterMapper):
    """Panoptic annotations ("pan_seg_file_name", "segments_info"): coco_panoptic_lsj."""

    def make_targets(self, record: Mapping[str, Any], frame: Frame, labels: np.ndarray | None) -> Instances:
        path = require_key(record, "pan_seg_file_name", "coco_panoptic_lsj")
        segments = require_key(record, "segments_info", "coco_panoptic_lsj")
        return segment_targets(read_panoptic_png(path), segments, frame, self.drop_vanished)


class COCOInstanceNewBaselineDatasetMapper(LargeScaleJitterMapper):
    """Instance annotations ("annotations"): coco_instance_lsj. What the crop does not show is left out."""

    def make_targets(self, record: Mapping[str, Any], frame: Frame, labels: np.ndarray | None) -> Instances:
        return annotation_targets(require_key(record, "annotations", "coco_instance_lsj"), frame, drop_empty=True)
