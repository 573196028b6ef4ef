"""What all models share that are asked for classes by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fcclip.meta_arch.vocabularies import VocabularyPair
from fcclip.vocabulary import Vocabulary
from fcclip.weights import WeightState


class VocabularyModel(nn.Module):
    """A model with a training and a test vocabulary, which knows what of it was never loaded; a subclass sets these."""

    pixel_mean: Tensor
    vocabularies: VocabularyPair
    weights: WeightState
    size_divisibility: int = 1  # images of a batch are padded to the largest of them, and on to a multiple of this

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
        return self.vocabularies.test

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Ask for other classes from now on; their names are encoded once, at the next image."""
        self.vocabularies.set_vocabulary(vocabulary)

    def set_metadata(self, metadata: Any) -> None:
        """Ask for the classes of a dataset from now on."""
        self.vocabularies.set_test_metadata(metadata)
