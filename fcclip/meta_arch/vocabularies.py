"""The classes that a model is trained on and those it is asked for, each with its text embeddings."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fcclip.text import NameEmbedder, TextClassifier
from fcclip.vocabulary import Category, Vocabulary
from fcclip.vocabulary.remarks import unknown_words

NAMED_WEIGHT = 1.0  # of negatives that were named: they count as much as classes
TRAINED_WEIGHT = 0.1  # of everything else: weaker, to find as much as without (docs/words.md)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedVocabulary:
    """A vocabulary as a model is asked for it. It belongs to whoever asks, and is never changed.

    Attributes:
        vocabulary: C classes.
        text: their names as unit vectors.
        seen: (C,) bool, which of them the model was trained on.
        contest: the classes together with what nothing is to be called; None if there is no such thing.
    """

    vocabulary: Vocabulary
    text: TextClassifier
    seen: Tensor
    contest: Contest | None = None

    def to(self, device: torch.device) -> EncodedVocabulary:
        """The same on another device."""
        if self.seen.device == device:
            return self
        contest = None if self.contest is None else self.contest.to(device)
        return EncodedVocabulary(self.vocabulary, self.text.to(device), self.seen.to(device), contest)


@dataclass(frozen=True)
class Contest:
    """Classes and negatives, of which a mask is called the former only if it does not look more like the latter.

    Attributes:
        everyone: the C classes, then N negatives, encoded.
        weights: (N,) what the probability of each negative is multiplied with, before it is compared.
    """

    everyone: EncodedVocabulary
    weights: Tensor

    def to(self, device: torch.device) -> Contest:
        """The same on another device."""
        return Contest(self.everyone.to(device), self.weights.to(device))


class Vocabularies:
    """The classes of training and those asked for.

    Names are encoded when a vocabulary is set. The classes of the datasets that a model is built with are encoded when
    they are first needed, and once more after other weights were loaded.

    Args:
        embedder: turns names into embeddings.
        train_metadata, test_metadata: Detectron2 metadata that name the classes.
        vocabulary_dir: see `Vocabulary.from_metadata`.
    """

    def __init__(
        self, embedder: NameEmbedder, train_metadata: Any, test_metadata: Any, vocabulary_dir: str = ""
    ) -> None:
        self._embedder = embedder
        self._directory = vocabulary_dir
        self._train_metadata, self._test_metadata = train_metadata, test_metadata
        self._train_vocabulary: Vocabulary | None = None
        self._test_vocabulary: Vocabulary | None = None
        self._train: EncodedVocabulary | None = None
        self._test: EncodedVocabulary | None = None

    @property
    def train_vocabulary(self) -> Vocabulary:
        """The classes of training."""
        if self._train_vocabulary is None:
            self._train_vocabulary = Vocabulary.from_metadata(self._train_metadata, self._directory)
        return self._train_vocabulary

    @property
    def seen_vocabulary(self) -> Vocabulary:
        """The classes of training whose pixels it showed; a class that shares a name with one of them is seen."""
        return self.train_vocabulary

    @property
    def templates(self) -> tuple[str, ...]:
        """The prompts that names are put into."""
        return self._embedder.templates

    @property
    def test_vocabulary(self) -> Vocabulary:
        """The classes asked for."""
        if self._test_vocabulary is None:
            self._test_vocabulary = Vocabulary.from_metadata(self._test_metadata, self._directory)
        return self._test_vocabulary

    def train(self, device: torch.device) -> EncodedVocabulary:
        """The classes of training, encoded."""
        if self._train is None:
            self._train = self._encode(self.train_vocabulary, [True] * len(self.train_vocabulary))
        self._train = self._train.to(device)
        return self._train

    def test(self, device: torch.device) -> EncodedVocabulary:
        """The classes asked for, encoded."""
        classes = self._test
        if classes is None:
            vocabulary = self.test_vocabulary
            classes = self._encode(vocabulary, self._seen_flags(vocabulary, self._test_metadata))
        self._test = classes.to(device)
        return self._test

    def seen_flags(self) -> list[bool]:
        """Which of the classes asked for were trained on; nothing is encoded for it."""
        return self._seen_flags(self.test_vocabulary, self._test_metadata)

    def encode(self, vocabulary: Vocabulary) -> EncodedVocabulary:
        """Encode classes, without asking for them from now on; warns of words that the model was not trained on.

        Raises:
            ValueError: if a name is too long for CLIP's text tower.
        """
        unknown = self.unknown(vocabulary)
        if unknown:
            logger.warning(unknown_words(unknown))
        return self._encode(vocabulary, self._seen_flags(vocabulary, None))

    def unknown(self, vocabulary: Vocabulary) -> list[str]:
        """Names with a word that the model was never trained on; what it finds for them means nothing."""
        return self._embedder.unknown([*vocabulary.names, *vocabulary.negatives])

    def embed(self, names: Sequence[str]) -> Tensor:
        """Names -> (n, E) unit rows on the CPU."""
        return self._embedder.embed(names)

    def others(self, asked: Collection[str]) -> tuple[Category, ...]:
        """The training classes that have none of these names."""
        known = set(asked)
        return tuple(category for category in self.train_vocabulary.categories if known.isdisjoint(category.names))

    def ask_for(self, classes: EncodedVocabulary, metadata: Any = None) -> None:
        """Ask for these classes from now on.

        Args:
            classes: as `encode` gives them.
            metadata: of the dataset that they are those of, if they are.
        """
        self._test, self._test_vocabulary, self._test_metadata = classes, classes.vocabulary, metadata

    def ask_for_dataset(self, metadata: Any) -> None:
        """Ask for the classes of a dataset from now on."""
        vocabulary = Vocabulary.from_metadata(metadata, self._directory)
        self.ask_for(self._encode(vocabulary, self._seen_flags(vocabulary, metadata)), metadata)

    def forget_embeddings(self) -> None:
        """Encode again when next needed, because the weights have changed."""
        self._train = self._test = None
        self._embedder.forget()

    def _encode(self, vocabulary: Vocabulary, seen: list[bool]) -> EncodedVocabulary:
        text = self._embedder.build_classifier(vocabulary)
        return EncodedVocabulary(vocabulary, text, torch.tensor(seen), self._contest(vocabulary, seen))

    def _contest(self, vocabulary: Vocabulary, seen: list[bool]) -> Contest | None:
        named = tuple(Category((name,)) for name in vocabulary.negatives)
        trained = self.others({*vocabulary.names, *vocabulary.negatives}) if vocabulary.everything_else else ()
        if not named and not trained:
            return None
        everyone = Vocabulary(vocabulary.categories + named + trained)
        flags = [*seen, *everyone.seen_in(self.train_vocabulary)[len(seen) :]]
        weights = [NAMED_WEIGHT] * len(named) + [TRAINED_WEIGHT] * len(trained)
        text = self._embedder.build_classifier(everyone)
        return Contest(EncodedVocabulary(everyone, text, torch.tensor(flags)), torch.tensor(weights))

    def _seen_flags(self, vocabulary: Vocabulary, metadata: Any) -> list[bool]:
        """Which classes were trained on; `metadata` is that of the dataset that they are those of, if they are."""
        return vocabulary.seen_in(self.seen_vocabulary)
