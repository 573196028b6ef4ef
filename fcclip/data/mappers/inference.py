"""The mapper of evaluation: read and resize the image, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T

from fcclip.data.mappers.base import CONSUMED, to_channels_first
from fcclip.data.mappers.reading import read_image
from fcclip.data.resizing import ResizeShorterSide


class InferenceMapper:
    """Resizes the shorter side to INPUT.MIN_SIZE_TEST, the longer to at most MAX_SIZE_TEST.

    The sample has "image" (3, H, W) uint8, the file's "height" and "width", and the record's other keys, less its
    annotations: the evaluators read those themselves, so they are neither read nor resized here.
    """

    @configurable
    def __init__(self, *, augmentations: list[T.Augmentation], image_format: str) -> None:
        self.augmentations = T.AugmentationList(augmentations)
        self.image_format = image_format

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {
            "augmentations": [
                ResizeShorterSide(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST, cfg.INPUT.RESIZING_TEST)
            ],
            "image_format": cfg.INPUT.FORMAT,
        }

    def __call__(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make one sample; the record is left as it is.

        Raises:
            FileNotFoundError: the image is missing.
            ValueError: it is damaged, or of another size than the record says.
        """
        image = read_image(record, self.image_format)
        inputs = T.AugInput(image)
        self.augmentations(inputs)
        sample = {key: value for key, value in record.items() if key not in CONSUMED}
        sample["height"], sample["width"] = image.shape[:2]
        sample["image"] = to_channels_first(inputs.image)
        return sample
