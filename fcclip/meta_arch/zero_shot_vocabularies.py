"""Which classes a zero-shot model is trained on, which it is asked for, and which of those it has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcclip.meta_arch.vocabularies import EncodedVocabulary, Vocabularies
from fcclip.text import NameEmbedder
from fcclip.vocabulary import Vocabulary

SETTINGS = ("inductive", "transductive", "fully_supervised")

SINGLE_TEMPLATE = ("a photo of a {}",)
_SIZES = ("", "small ", "medium ", "large ")
MULTIPLE_TEMPLATES = (
    *(f"{start} {size}{{}}." for start in ("a photo of a", "This is a photo of a") for size in _SIZES),
    "a {} in the scene.",
    "a photo of a {} in the scene.",
    "There is a {} in the scene.",
    "There is the {} in the scene.",
    "This is a {} in the scene.",
    "This is the {} in the scene.",
    "This is one {} in the scene.",
)
ZERO_SHOT_TEMPLATES = {"single": SINGLE_TEMPLATE, "multiple": MULTIPLE_TEMPLATES}


class ZeroShotVocabularies(Vocabularies):
    """The classes of a model of which some are unseen in training, and those asked for.

    The metadata's `unseen_classes` are the ids of the unseen ones, which inductive training does not know, the others
    do. Of the classes of a dataset those are seen that its metadata says: all without `unseen_classes`, or after
    fully supervised training. Of the user's, those are seen that share a name with a class seen in training.

    Args:
        embedder, train_metadata, test_metadata, vocabulary_dir: see `Vocabularies`.
        setting: inductive, transductive or fully_supervised.
    """

    def __init__(
        self,
        embedder: NameEmbedder,
        train_metadata: Any,
        test_metadata: Any,
        setting: str,
        vocabulary_dir: str = "",
    ) -> None:
        super().__init__(embedder, train_metadata, test_metadata, vocabulary_dir)
        if setting not in SETTINGS:
            raise ValueError(f"MODEL.ZERO_SHOT.SETTING must be one of {', '.join(SETTINGS)}, not {setting!r}")
        self._setting = setting
        every_class = Vocabulary.from_metadata(train_metadata, vocabulary_dir)
        self.num_classes = len(every_class)
        self.unseen = () if setting == "fully_supervised" else unseen_classes(train_metadata)
        if setting == "transductive" and not self.unseen:
            raise ValueError(
                f'dataset "{train_metadata.name}" has no unseen_classes, which transductive training needs; train with '
                "MODEL.ZERO_SHOT.SETTING fully_supervised"
            )
        self._seen_vocabulary = _without(every_class, self.unseen)
        self._train_vocabulary = self._seen_vocabulary if setting == "inductive" else every_class

    @property
    def seen_vocabulary(self) -> Vocabulary:
        return self._seen_vocabulary

    @property
    def num_training_classes(self) -> int:
        """How many class maps the loss sees."""
        return len(self.train_vocabulary)

    def encode(self, vocabulary: Vocabulary) -> EncodedVocabulary:
        """As `Vocabularies.encode`.

        Raises:
            ValueError: also if there are negatives or thresholds, as every pixel has a class here.
        """
        vocabulary.require_plain()
        return super().encode(vocabulary)

    def _seen_flags(self, vocabulary: Vocabulary, metadata: Any) -> list[bool]:
        if metadata is None:
            return vocabulary.seen_in(self.seen_vocabulary)
        unseen = () if self._setting == "fully_supervised" else unseen_classes(metadata)
        return [index not in unseen for index in range(len(vocabulary))]


def unseen_classes(metadata: Any) -> tuple[int, ...]:
    """Ids of the classes of a dataset that are unseen in zero-shot training; none without a split."""
    return tuple(metadata.get("unseen_classes") or ())


def read_embeddings(path: str | Path, metadata: Any, width: int) -> dict[str, Tensor]:
    """Read published text embeddings: a .npy file with one row per class, in the order of the dataset's classes.

    Args:
        path: the file, float16 or float32.
        metadata: its `stuff_classes` are the names of the rows.
        width: E, the width of a row.

    Returns:
        Name -> (E,) float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such array, or has another shape.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of text embeddings {path}; check MODEL.ZERO_SHOT.TEXT_EMBEDDINGS")
    try:
        rows = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise ValueError(f"{path} is not a NumPy array of numbers; give a .npy file of text embeddings") from None
    names = Vocabulary.from_metadata(metadata).class_strings
    if getattr(rows, "shape", None) != (len(names), width):
        raise ValueError(
            f'{path} has shape {getattr(rows, "shape", None)}, but dataset "{metadata.name}" and this CLIP need '
            f"({len(names)}, {width}); give the embeddings of its classes"
        )
    return dict(zip(names, torch.from_numpy(rows).float(), strict=True))


def _without(vocabulary: Vocabulary, indices: tuple[int, ...]) -> Vocabulary:
    kept = (category for index, category in enumerate(vocabulary.categories) if index not in indices)
    return Vocabulary(tuple(kept))
