"""The mapper of ZegCLIP's and Cascade-CLIP's training: image and label map, augmented as published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import MetadataCatalog

from fcclip.data.mappers.base import CONSUMED, to_channels_first
from fcclip.data.mappers.photometric import distort_colors, random_crop, random_flip, random_rescale
from fcclip.data.mappers.reading import (
    CHANNEL_ORDERS,
    read_image,
    require_key,
    require_labels,
    require_same_size,
)
from fcclip.files.images import read_label_map

IGNORE = 255


class ZeroShotMapper:
    """Turns a record of a dataset with label maps into a training sample: rescale, crop, flip, change colours.

    The sample has the record's keys, less those of its annotation files, and
        image: (3, h, w) uint8, h and w at most the crop (the model pads it, after normalising),
        sem_seg: (h, w) int64, class ids and 255,
        height, width: size of the file's image.
    """

    @configurable
    def __init__(
        self,
        is_train: bool = True,
        *,
        long: int,
        short: int,
        scales: tuple[float, float],
        crop: int,
        largest_share: float,
        image_format: str,
        ignore_label: int = IGNORE,
        classes: int | None = None,
        distort: bool = True,
    ) -> None:
        """
        Args:
            is_train: must be true; tests use `InferenceMapper`.
            long, short: sides of the box that an image fits into at scale 1.
            scales: range of the scale.
            crop: side of the square that is cut out.
            largest_share: a crop is redrawn if one class covers more of it than this.
            image_format: channel order of the result, RGB or BGR.
            ignore_label: value of unlabelled pixels in the files; in the sample it is 255.
            classes: number of classes; another label is refused. None: labels are not looked at.
            distort: change the colours.
        """
        if not is_train:
            raise ValueError("ZeroShotMapper makes training samples only; use fcclip.data.mappers.InferenceMapper")
        if classes is not None and classes > IGNORE:
            raise ValueError(f"the training set has {classes} classes; zero-shot training can hold {IGNORE}")
        self.long, self.short, self.scales = long, short, scales
        self.crop, self.largest_share = crop, largest_share
        self.image_format = image_format
        self.ignore_label = ignore_label
        self.classes = classes
        self.distort = distort

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        metadata = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
        names = metadata.get("stuff_classes")
        return {
            "is_train": is_train,
            "long": cfg.INPUT.MAX_SIZE_TRAIN,
            "short": cfg.INPUT.MIN_SIZE_TRAIN[0],
            "scales": (cfg.INPUT.MIN_SCALE, cfg.INPUT.MAX_SCALE),
            "crop": cfg.MODEL.ZERO_SHOT.CROP_SIZE,
            "largest_share": cfg.INPUT.CROP.SINGLE_CATEGORY_MAX_AREA,
            "image_format": cfg.INPUT.FORMAT,
            "ignore_label": metadata.get("ignore_label", IGNORE),
            "classes": len(names) if names else None,
            "distort": cfg.INPUT.DISTORT_COLORS,
        }

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make one sample; the record is left as it is.

        Raises:
            FileNotFoundError: a file of the record is missing.
            ValueError: a file is damaged, the two sizes differ, a label is no class, or the record has no label map.
        """
        image = read_image(record, "BGR")
        path = require_key(record, "sem_seg_file_name", "zero_shot")
        labels = read_label_map(path)
        require_same_size(path, labels, image)
        if self.classes is not None:
            require_labels(path, labels, self.classes, self.ignore_label)
        labels = np.where(labels == self.ignore_label, IGNORE, labels).astype(np.uint8)
        sample = {key: value for key, value in record.items() if key not in CONSUMED}
        sample["height"], sample["width"] = labels.shape
        image, labels = self.augment(image, labels)
        sample["image"] = to_channels_first(image[..., ::-1][..., CHANNEL_ORDERS[self.image_format]])
        sample["sem_seg"] = torch.from_numpy(labels.astype(np.int64))
        return sample

    def augment(self, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A random variant of a BGR image (H, W, 3) and its label map (H, W), both uint8."""
        image, labels = random_rescale(image, labels, self.long, self.short, self.scales)
        image, labels = random_crop(image, labels, self.crop, self.largest_share)
        image, labels = random_flip(image, labels)
        return distort_colors(image) if self.distort else image, labels
