"""MaskFormer's mappers: resize the shorter side to one of some sizes, crop, change colours, flip.

Source: Cheng et al., Per-Pixel Classification is Not All You Need, NeurIPS 2021, section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.data import transforms as T
from detectron2.projects.point_rend import ColorAugSSDTransform
from detectron2.structures import Instances

from fcclip.data.mappers.base import TrainMapper
from fcclip.data.mappers.frame import Frame
from fcclip.data.mappers.reading import require_key, require_labels
from fcclip.data.mappers.targets import annotation_targets, label_map_targets, segment_targets
from fcclip.files.images import read_label_map
from fcclip.files.panoptic import read_panoptic_png


class MaskFormerMapper(TrainMapper):
    """Augmentations of INPUT.MIN_SIZE_TRAIN, CROP, COLOR_AUG_SSD and SIZE_DIVISIBILITY."""

    @property
    def crops_by_class(self) -> bool:
        """Whether a crop looks at the label map (INPUT.CROP.SINGLE_CATEGORY_MAX_AREA below 1)."""
        return any(getattr(augmentation, "single_category_max_area", 1) < 1 for augmentation in self.augmentations.augs)

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        augmentations = [
            T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MAX_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING)
        ]
        if cfg.INPUT.CROP.ENABLED:
            augmentations.append(cls.crop(cfg))
        if cfg.INPUT.COLOR_AUG_SSD:
            augmentations.append(ColorAugSSDTransform(img_format=cfg.INPUT.FORMAT))
        augmentations.append(T.RandomFlip())
        metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
        names = metadata.get("stuff_classes")
        return {
            "is_train": is_train,
            "augmentations": augmentations,
            "image_format": cfg.INPUT.FORMAT,
            "side": cfg.INPUT.SIZE_DIVISIBILITY,
            "ignore_label": metadata.get("ignore_label", 255),
            "classes": len(names) if names else None,
            "drop_vanished": cfg.INPUT.DROP_VANISHED_SEGMENTS,
        }

    @classmethod
    def crop(cls, cfg: CfgNode) -> T.Augmentation:
        """A random crop of which no class fills too large a share."""
        return T.RandomCrop_CategoryAreaConstraint(
            cfg.INPUT.CROP.TYPE,
            cfg.INPUT.CROP.SIZE,
            cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA,
            cfg.MODEL.SEM_SEG_HEAD.IGNORE_VALUE,
        )


class MaskFormerSemanticDatasetMapper(MaskFormerMapper):
    """Label maps ("sem_seg_file_name"), one mask per class: mask_former_semantic."""

    def read_labels(self, record: Mapping[str, Any]) -> np.ndarray:
        path = require_key(record, "sem_seg_file_name", "mask_former_semantic")
        labels = read_label_map(path)
        if self.classes is not None:
            require_labels(path, labels, self.classes, self.ignore_label)
        return labels

    def make_targets(self, record: Mapping[str, Any], frame: Frame, labels: np.ndarray | None) -> Instances:
        if "annotations" in record:
            raise ValueError(
                f"the record of {record['file_name']} has instance annotations, which the mapper mask_former_semantic "
                "would ignore; use mask_former_instance, or a dataset of label maps only"
            )
        assert labels is not None
        return label_map_targets(labels, self.ignore_label)


class MaskFormerPanopticDatasetMapper(MaskFormerMapper):
    """Panoptic annotations, with label maps where the dataset has them: mask_former_panoptic."""

    def read_labels(self, record: Mapping[str, Any]) -> np.ndarray | None:
        if record.get("sem_seg_file_name") is None and not self.crops_by_class:
            return None
        return read_label_map(require_key(record, "sem_seg_file_name", "mask_former_panoptic with a crop by class"))

    def make_targets(self, record: Mapping[str, Any], frame: Frame, labels: np.ndarray | None) -> Instances:
        path = require_key(record, "pan_seg_file_name", "mask_former_panoptic")
        segments = require_key(record, "segments_info", "mask_former_panoptic")
        return segment_targets(read_panoptic_png(path), segments, frame, self.drop_vanished)


class MaskFormerInstanceDatasetMapper(MaskFormerMapper):
    """Instance annotations ("annotations"): mask_former_instance."""

    @classmethod
    def crop(cls, cfg: CfgNode) -> T.Augmentation:
        """A random crop; without label maps the classes in it are not known."""
        return T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE)

    def make_targets(self, record: Mapping[str, Any], frame: Frame, labels: np.ndarray | None) -> Instances:
        annotations = require_key(record, "annotations", "mask_former_instance")
        return annotation_targets(annotations, frame, drop_empty=self.drop_vanished)
