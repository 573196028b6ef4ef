"""What all training mappers do: read, augment image and annotations alike, make targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import Instances
from torch import Tensor

from fcclip.data.mappers.frame import Frame
from fcclip.data.mappers.reading import CHANNEL_ORDERS, read_image, require_same_size

IMAGE_PADDING = 128  # grey level beyond the image
CONSUMED = ("sem_seg_file_name", "pan_seg_file_name", "annotations")  # keys of a record that become tensors


class TrainMapper(ABC):
    """Turns a record of a dataset into a training sample.

    The sample has the record's keys, less those of its annotation files, and
        image: (3, H, W) uint8,
        instances: Detectron2 Instances with gt_classes (n,) int64, gt_masks (n, H, W) bool and gt_boxes,
        height, width: size of the file's image,
        sem_seg: (H, W) int64, where the mapper reads a label map.

    Random numbers come from NumPy's and Python's global generators, as in Detectron2's augmentations.
    """

    @configurable
    def __init__(
        self,
        is_train: bool = True,
        *,
        augmentations: Sequence[T.Augmentation],
        image_format: str,
        side: int = -1,
        ignore_label: int = 255,
        classes: int | None = None,
        drop_vanished: bool = False,
    ) -> None:
        """
        Args:
            is_train: must be true; tests use `InferenceMapper`.
            augmentations: applied in this order.
            image_format: channel order, RGB or BGR.
            side: > 0 to cut and pad every sample to a square of this side.
            ignore_label: class id of unlabelled pixels of label maps.
            classes: number of classes, to judge the labels of label maps; None: they are not looked at.
            drop_vanished: leave out segments that the augmentations have pushed out of the image.
        """
        if not is_train:
            raise ValueError(
                f"{type(self).__name__} makes training samples only; use fcclip.data.mappers.InferenceMapper"
            )
        if image_format not in CHANNEL_ORDERS:
            raise ValueError(f"INPUT.FORMAT must be one of {', '.join(CHANNEL_ORDERS)}, not {image_format!r}")
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format
        self.side = side
        self.ignore_label = ignore_label
        self.classes = classes
        self.drop_vanished = drop_vanished

    @classmethod
    @abstractmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Constructor arguments from the configuration."""

    @abstractmethod
    def make_targets(self, record: Mapping[str, Any], frame: Frame, labels: np.ndarray | None) -> Instances:
        """Targets of a record in an augmented frame; `labels` is the augmented label map, if one was read."""

    def read_labels(self, record: Mapping[str, Any]) -> np.ndarray | None:
        """The (H, W) float64 label map of the record, for mappers that use one."""
        return None

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make one sample; the record is left as it is.

        Raises:
            FileNotFoundError: a file of the record is missing.
            ValueError: a file is damaged, or the record lacks what this mapper needs.
        """
        image = read_image(record, self.image_format)
        labels = self.read_labels(record)
        if labels is not None:
            require_same_size(record["sem_seg_file_name"], labels, image)
        # Label maps are resized as float64, as by the published mappers.
        inputs = T.AugInput(image, sem_seg=None if labels is None else labels.astype(np.float64))
        transforms = self.augmentations(inputs)
        height, width = inputs.image.shape[:2]
        frame = Frame(transforms, height, width, self.side, source=image.shape[:2])

        sample = {key: value for key, value in record.items() if key not in CONSUMED}
        sample["height"], sample["width"] = image.shape[:2]
        sample["image"] = to_channels_first(frame.pad(inputs.image, IMAGE_PADDING))
        labels = None
        if inputs.sem_seg is not None:
            labels = frame.pad(inputs.sem_seg, self.ignore_label).astype(np.int64)
            sample["sem_seg"] = torch.from_numpy(labels)
        try:
            sample["instances"] = self.make_targets(record, frame, labels)
        except ValueError as error:
            raise ValueError(f"image {record['file_name']}: {error}") from error
        return sample


def to_channels_first(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 array -> (3, H, W) uint8 tensor of its own memory."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def random_flip(cfg: CfgNode) -> list[T.Augmentation]:
    """The flip of INPUT.RANDOM_FLIP: one augmentation, or none."""
    kind = cfg.INPUT.RANDOM_FLIP
    if kind == "none":
        return []
    return [T.RandomFlip(horizontal=kind == "horizontal", vertical=kind == "vertical")]
