"""What all systems share: they are asked for classes by name, and answer from what they know of an image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.data import MetadataCatalog
from torch import Tensor, nn

from fcclip.clip.base import ClipBackbone
from fcclip.meta_arch.vocabularies import EncodedVocabulary, Vocabularies
from fcclip.vocabulary import Vocabulary
from fcclip.weights import WeightState


@dataclass(frozen=True)
class QueryScores:
    """What is known of n masks of one image.

    Attributes:
        joint: (n, C) probabilities of the classes after the ensemble; the rest is void.
        in_vocab: (n, C) probabilities of the trained classifier, among the classes alone.
        out_vocab: (n, C) probabilities of CLIP.
        embeddings: (n, E) unit vectors, what CLIP sees in each mask.
    """

    joint: Tensor
    in_vocab: Tensor
    out_vocab: Tensor
    embeddings: Tensor


class OpenVocabularyModel(nn.Module, ABC):
    """A model that is asked for classes by name.

    A subclass says how an image is encoded, which needs no class, and how classes are found in what was encoded.

    Args:
        backbone: the CLIP.
        vocabularies: the classes of training and those asked for.
        pixel_mean, pixel_std: per channel, in the 0..255 range.
        allow_random_weights: run although weights were not loaded.
        has_head: whether there is anything but the CLIP to be trained.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    tuned_weights: tuple[str, ...] = ()  # begin the names of CLIP's weights that are trained: no other CLIP has them
    size_divisibility: int = 1  # images of a batch are padded to the largest of them, and on to a multiple of this

    def __init__(
        self,
        *,
        backbone: ClipBackbone,
        vocabularies: Vocabularies,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        allow_random_weights: bool,
        has_head: bool = True,
    ) -> None:
        super().__init__()
        self.backbone: Any = backbone
        self.vocabularies = vocabularies
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)
        self.weights = WeightState(backbone, allow_random_weights, has_head)
        self._labels_only = False
        self.register_load_state_dict_post_hook(_after_loading)  # type: ignore[no-untyped-call]

    @property
    def device(self) -> torch.device:
        return self.pixel_mean.device

    @property
    def uses_random_weights(self) -> bool:
        """Whether a part of the model was never loaded or trained, so that its results mean nothing."""
        return bool(self.weights.random_parts)

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes of the results."""
        return self.vocabularies.test_vocabulary

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Ask for other classes from now on; their names are encoded here.

        Raises:
            ValueError: if a name is too long for CLIP's text tower; the classes then stay as they were.
        """
        self.vocabularies.ask_for(self.vocabularies.encode(vocabulary))

    def set_metadata(self, metadata: Any) -> None:
        """Ask for the classes of a dataset from now on; their names are encoded here."""
        self.vocabularies.ask_for_dataset(metadata)

    @contextmanager
    def labels_only(self) -> Iterator[None]:
        """In the block, "sem_seg" is an (h, w) map of classes instead of (C, h, w) scores, which are never held."""
        before, self._labels_only = self._labels_only, True
        try:
            yield
        finally:
            self._labels_only = before

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, results otherwise.

        Args:
            batched_inputs: per image `image` (3, H, W), RGB in 0..255; for training the ground truth, see `losses`; for
                results optionally `height` and `width` of the output.

        Returns:
            In training the weighted losses by name; otherwise what `answer` gives, per image.

        Raises:
            RuntimeError: if weights were not loaded.
        """
        self.weights.check(self.training)
        if self.training:
            return self.losses(batched_inputs)
        with torch.no_grad():
            classes = self.vocabularies.test(self.device)
            pictures = self.encode(batched_inputs, classes)
            return [self.answer(encoded, classes, self._labels_only) for encoded in pictures]

    def normalize(self, image: Tensor) -> Tensor:
        """(3, H, W) in 0..255 as the CLIP takes it, on the device of the model."""
        return (image.to(self.device) - self.pixel_mean) / self.pixel_std

    @abstractmethod
    def losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """The weighted losses by name."""

    @abstractmethod
    def encode(self, batched_inputs: list[dict[str, Any]], only: EncodedVocabulary | None = None) -> list[Any]:
        """All that is known of each image before a class is named; `answer` takes it.

        Args:
            batched_inputs: as of `forward`.
            only: promises that `answer` will be asked for these classes alone; what they do not need may be left out.
        """

    @abstractmethod
    def answer(self, encoded: Any, classes: EncodedVocabulary, labels_only: bool = False) -> dict[str, Any]:
        """Find classes in one image.

        Args:
            encoded: the image, from `encode`.
            classes: what to find, from `vocabularies.encode`.
            labels_only: see the context manager of that name.

        Returns:
            As far as the model gives them: `sem_seg` (C, height, width) scores or (height, width) labels;
            `panoptic_seg`, the (height, width) int32 map and its segments (id, isthing, category_id), with
            `panoptic_scores` and `panoptic_queries`, one score and one query per segment; `instances`
            (pred_masks, pred_boxes, scores, pred_classes).
        """

    def explain(self, encoded: Any, classes: EncodedVocabulary, queries: Sequence[int]) -> QueryScores | None:
        """Why segments have their class; None of a model that does not classify masks.

        Args:
            encoded, classes: as for `answer`.
            queries: `panoptic_queries` of the answer, one per segment.
        """
        return None


def require_numbers(what: str, values: Tensor) -> None:
    """Refuse NaN and infinity, of which a comparison would silently make a class or nothing at all.

    Raises:
        FloatingPointError: some values are none.
    """
    if not torch.isfinite(values).all():
        raise FloatingPointError(
            f"the {what} of the model are NaN or infinite, and its answer would mean nothing; its weights are damaged "
            "or diverged in training, or the precision is too low (leave MODEL.FC_CLIP.INFERENCE_DTYPE at float32)"
        )


def training_metadata(names: Sequence[str]) -> Any:
    """Detectron2's metadata of the first training set.

    Raises:
        ValueError: none is named.
    """
    if not names:
        raise ValueError("DATASETS.TRAIN is empty; name a dataset, whose classes the model then knows")
    return MetadataCatalog.get(names[0])


def _after_loading(model: OpenVocabularyModel, keys: Any) -> None:
    model.weights.update(keys.missing_keys)
    model.vocabularies.forget_embeddings()
