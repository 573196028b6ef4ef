"""The two vocabularies of a model: the classes it is trained on and those it is asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fcclip.text import NameEmbedder, TextClassifier
from fcclip.vocabulary import Vocabulary


class VocabularyPair:
    """Training and test vocabulary with their text classifiers, each made when it is first needed.

    Args:
        embedder: turns names into embeddings.
        train_metadata, test_metadata: Detectron2 metadata that name the classes.
        vocabulary_dir: see :meth:`Vocabulary.from_metadata`.
    """

    def __init__(
        self, embedder: NameEmbedder, train_metadata: Any, test_metadata: Any, vocabulary_dir: str = ""
    ) -> None:
        self._embedder = embedder
        self._metadata = {True: train_metadata, False: test_metadata}
        self._directory = vocabulary_dir
        self._vocabularies: dict[bool, Vocabulary] = {}
        self._classifiers: dict[bool, TextClassifier] = {}
        self._seen: Tensor | None = None

    @property
    def train(self) -> Vocabulary:
        return self._vocabulary(training=True)

    @property
    def test(self) -> Vocabulary:
        return self._vocabulary(training=False)

    @test.setter
    def test(self, vocabulary: Vocabulary) -> None:
        self._vocabularies[False] = vocabulary
        self._classifiers.pop(False, None)
        self._seen = None

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Take other classes as the test vocabulary."""
        self.test = vocabulary

    def set_test_metadata(self, metadata: Any) -> None:
        """Take the classes of another dataset as the test vocabulary."""
        self.test = Vocabulary.from_metadata(metadata, self._directory)

    def classifier(self, training: bool, device: torch.device) -> TextClassifier:
        """The text classifier of the training or the test vocabulary."""
        known = self._classifiers.get(training)
        if known is None or known.embeddings.device != device:
            known = self._embedder.build_classifier(self._vocabulary(training)).to(device)
            self._classifiers[training] = known
        return known

    def seen(self, device: torch.device) -> Tensor:
        """Which test classes share a name with a training class: (C,) bool."""
        if self._seen is None:
            self._seen = torch.tensor(self.test.seen_in(self.train))
        self._seen = self._seen.to(device)
        return self._seen

    def forget_embeddings(self) -> None:
        """Encode again when next needed, because the weights have changed."""
        self._classifiers.clear()
        self._embedder.forget()

    def _vocabulary(self, training: bool) -> Vocabulary:
        if training not in self._vocabularies:
            self._vocabularies[training] = Vocabulary.from_metadata(self._metadata[training], self._directory)
        return self._vocabularies[training]
