"""A vocabulary as an exported model is asked for it: rows of its names, from a file or from the text graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcclip.export.manifest import Manifest, QuerySettings
from fcclip.export.tokenizer import Tokenizer
from fcclip.vocabulary import Category, Vocabulary
from fcclip.vocabulary.remarks import refuse_overlong, unknown_words

logger = logging.getLogger(__name__)

BATCH_SIZE = 256  # prompts


@dataclass(frozen=True)
class TextRows:
    """The classes of a vocabulary as unit vectors in CLIP's embedding space.

    Attributes:
        embeddings: (S, E), one row per synonym.
        rows_of_class: (C, most synonyms of a class) indices into the rows, the first one repeated as padding.
    """

    embeddings: np.ndarray
    rows_of_class: np.ndarray

    @classmethod
    def build(cls, embeddings: np.ndarray, class_of_row: Sequence[int]) -> TextRows:
        """Args: embeddings (S, E); class_of_row: the class of each row, classes in ascending order."""
        rows: list[list[int]] = [[] for _ in range(max(class_of_row) + 1)]
        for row, index in enumerate(class_of_row):
            rows[index].append(row)
        widest = max(map(len, rows))
        return cls(embeddings, np.array([entries + entries[:1] * (widest - len(entries)) for entries in rows]))

    def best_synonym(self, scores: np.ndarray, axis: int = -1) -> np.ndarray:
        """Scores of rows -> scores of classes, along an axis."""
        return np.take(scores, self.rows_of_class, axis=axis).max(axis=axis % scores.ndim + 1)


@dataclass(frozen=True)
class Classes:
    """What is asked for.

    Attributes:
        vocabulary: C classes.
        text: their names as unit vectors.
        seen: (C,) bool, which of them the model was trained on.
        everyone: the classes and N negatives; None without such.
        weights: (N,) what the probability of each negative is multiplied with.
    """

    vocabulary: Vocabulary
    text: TextRows
    seen: np.ndarray
    everyone: Classes | None = None
    weights: np.ndarray | None = None


class NameRows:
    """Rows of names: those in `vocabulary.npz`, and for others what the text graph gives.

    Args:
        known: name -> (E,) unit row.
        manifest: of the folder.
        merges: file of the tokenizer.
        encode: tokens (n, length) -> (n, E), by the text graph.
        trained_tokens: (tokens,) bool, of which token CLIP has a trained embedding.
    """

    def __init__(
        self,
        known: dict[str, np.ndarray],
        manifest: Manifest,
        merges: Path,
        encode: Callable[[np.ndarray], np.ndarray],
        trained_tokens: np.ndarray,
    ) -> None:
        self._rows = known
        self._text, self._settings = manifest.text, manifest.settings
        self._merges = merges
        self._encode = encode
        self._trained_tokens = trained_tokens
        self._tokenizer: Tokenizer | None = None

    def classes(self, vocabulary: Vocabulary) -> Classes:
        """Encode a vocabulary.

        Raises:
            ValueError: a name is too long, or the model cannot have negatives or thresholds.
        """
        seen = np.array(vocabulary.seen_in(_vocabulary_of(self._text.seen)))
        text = self._rows_of(vocabulary)
        if not isinstance(self._settings, QuerySettings):
            vocabulary.require_plain()
            return Classes(vocabulary, text, seen)
        negatives, weights = self._negatives(vocabulary, self._settings)
        if not negatives:
            return Classes(vocabulary, text, seen)
        everyone = Vocabulary(vocabulary.categories + negatives)
        flags = np.array([*seen, *everyone.seen_in(_vocabulary_of(self._text.seen))[len(seen) :]])
        return Classes(
            vocabulary, text, seen, Classes(everyone, self._rows_of(everyone), flags), np.array(weights, np.float32)
        )

    def embed(self, names: Sequence[str]) -> np.ndarray:
        """Names -> (n, E) float32 unit rows.

        Raises:
            ValueError: a name is too long for CLIP.
        """
        missing = [name for name in dict.fromkeys(names) if name not in self._rows]
        if missing:
            self._encode_names(missing)
        return np.stack([self._rows[name] for name in names])

    def _rows_of(self, vocabulary: Vocabulary) -> TextRows:
        return TextRows.build(self.embed(vocabulary.names), vocabulary.class_of_name)

    def _negatives(self, vocabulary: Vocabulary, settings: QuerySettings) -> tuple[tuple[Category, ...], list[float]]:
        named = tuple(Category((name,)) for name in vocabulary.negatives)
        asked = {*vocabulary.names, *vocabulary.negatives}
        others = [names for names in self._text.trained if asked.isdisjoint(names)] * vocabulary.everything_else
        weights = [settings.named_weight] * len(named) + [settings.trained_weight] * len(others)
        return named + tuple(map(Category, others)), weights

    def _encode_names(self, names: Sequence[str]) -> None:
        """Batches of about equal length, so that few positions are wasted."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.read(self._merges, self._text.context_length)
        templates = self._text.templates
        tokens = self._tokenizer([template.format(name) for name in names for template in templates])
        tokens = tokens.reshape(len(names), len(templates), -1)
        ends = tokens.argmax(axis=-1).max(axis=1)  # the end has the largest token
        refuse_overlong(zip(names, ends.tolist(), strict=True), self._text.context_length)
        lengths = ends + 1
        self._warn_of_strange(names, self._tokenizer(names))
        order = np.argsort(lengths, kind="stable")
        step = max(BATCH_SIZE // len(templates), 1)
        for batch in (order[start : start + step] for start in range(0, len(order), step)):
            prompts = self._encode(tokens[batch, :, : lengths[batch].max()].reshape(len(batch) * len(templates), -1))
            unit = prompts / np.linalg.norm(prompts, axis=-1, keepdims=True)
            mean = unit.reshape(len(batch), len(templates), -1).mean(axis=1)
            rows = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
            self._rows.update(zip([names[index] for index in batch], rows, strict=True))

    def _warn_of_strange(self, names: Sequence[str], tokens: np.ndarray) -> None:
        places = np.arange(tokens.shape[1])
        inside = (places > 0) & (places < tokens.argmax(axis=-1)[:, None])
        strange = (inside & ~self._trained_tokens[tokens]).any(axis=-1)
        unknown = [name for name, is_strange in zip(names, strange, strict=True) if is_strange]
        if unknown:
            logger.warning(unknown_words(unknown))


def _vocabulary_of(names: Sequence[tuple[str, ...]]) -> Vocabulary:
    return Vocabulary(tuple(map(Category, names)))
