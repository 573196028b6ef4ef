"""Pictures of any size through a model: resized on the way in, plain data on the way out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch

from fcclip.data.resizing import ResizeShorterSide
from fcclip.files.images import ImageLike, to_rgb
from fcclip.inference.batching import Failure
from fcclip.meta_arch.answers import to_segmentation
from fcclip.meta_arch.base import OpenVocabularyModel
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.segmentation import Segmentation


@dataclass(frozen=True)
class EncodedPicture:
    """A picture and all that a model knows of it before a class is named; `Segmenter.predict` takes it as a picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        encoded: what the model made of it.

    Examples:
        >>> from fcclip import Segmenter
        >>> picture = np.zeros((64, 64, 3), np.uint8)
        >>> encoded = Segmenter.from_pretrained("panoshapes", device="cpu").encode(picture)
        >>> encoded.image.shape
        (64, 64, 3)
    """

    image: np.ndarray
    encoded: Any


# A picture (H, W, 3) uint8 RGB, one that the network has looked at, or one that could not be read.
Item: TypeAlias = np.ndarray | EncodedPicture | Failure


def to_item(image: ImageLike | EncodedPicture | Failure) -> Item:
    """A picture that is read, or why it cannot be."""
    if isinstance(image, EncodedPicture | Failure):
        return image
    try:
        return to_rgb(image)
    except Exception as error:  # noqa: BLE001 - of one picture; the others go on
        return Failure(error)


class PictureModel:
    """A model that takes RGB arrays of any size.

    Args:
        model: any of `fcclip.meta_arch`.
        min_size: length in pixels to which the shorter side of a picture is resized.
        max_size: the most that the longer side may get.
        input_format: order of the colour channels that the model expects, "RGB" or "BGR".
        resizing: the library that resizes, "pillow" or "opencv".
    """

    def __init__(
        self, model: OpenVocabularyModel, min_size: int, max_size: int, input_format: str, resizing: str
    ) -> None:
        self.model = model
        self._resize = ResizeShorterSide(min_size, max_size, resizing)
        self._reverse_channels = input_format == "BGR"

    def to_input(self, image: np.ndarray) -> dict[str, Any]:
        """An (H, W, 3) uint8 picture as Detectron2's models take it: resized, with the size of the result."""
        height, width = image.shape[:2]
        pixels = np.ascontiguousarray(image[..., ::-1] if self._reverse_channels else image)
        resized = self._resize.get_transform(pixels).apply_image(pixels)
        tensor = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1))).float()
        return {"image": tensor, "height": height, "width": width}

    def padded_size(self, image: np.ndarray) -> tuple[int, int]:
        """Height and width at which a picture (H, W, 3) goes through the network: resized, then padded."""
        height, width = self._resize.output_size(*image.shape[:2])
        multiple = max(self.model.size_divisibility, 1)
        return -(-height // multiple) * multiple, -(-width // multiple) * multiple

    def encode(self, images: Sequence[np.ndarray], only: EncodedVocabulary | None = None) -> list[EncodedPicture]:
        """Let the network look at (H, W, 3) uint8 pictures together, perhaps for one vocabulary only."""
        with torch.no_grad():
            encoded = self.model.encode([self.to_input(image) for image in images], only)
        return [EncodedPicture(image, one) for image, one in zip(images, encoded, strict=True)]

    def answer(
        self, picture: EncodedPicture, classes: EncodedVocabulary, instance_threshold: float = 0.0
    ) -> Segmentation:
        """What is there of some classes; instances that score less than the threshold are dropped."""
        with torch.no_grad():
            found = self.model.answer(picture.encoded, classes, labels_only=True)
            queries = found.get("panoptic_queries")
            reasons = self.model.explain(picture.encoded, classes, queries) if queries else None
        is_random = self.model.uses_random_weights
        return to_segmentation(picture.image, found, classes.vocabulary, reasons, instance_threshold, is_random)

    def kind(self, item: Item) -> Hashable:
        """What the items of a batch have in common."""
        return self.padded_size(item) if isinstance(item, np.ndarray) else type(item).__name__

    def answer_batch(
        self, items: Sequence[Item], classes: EncodedVocabulary, instance_threshold: float = 0.0
    ) -> Sequence[Segmentation | Failure]:
        """Results of items of one kind; those that fail together are tried one by one."""
        if isinstance(items[0], Failure):
            return [item for item in items if isinstance(item, Failure)]
        try:
            if isinstance(items[0], EncodedPicture):
                pictures = [item for item in items if isinstance(item, EncodedPicture)]
            else:
                pictures = self.encode([item for item in items if isinstance(item, np.ndarray)], classes)
            return [self.answer(picture, classes, instance_threshold) for picture in pictures]
        except Exception as error:  # noqa: BLE001 - whatever the network or the memory says of one picture, the others go on
            if len(items) == 1:
                return [Failure(error)]
        return [self.answer_batch([item], classes, instance_threshold)[0] for item in items]
