"""The models that a server offers: each is loaded when it is first asked for, and looks at one picture at a time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcclip.meta_arch.pictures import EncodedPicture
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.segmentation import Segmentation
from fcclip.segmenter import Segmenter
from fcclip.serving.memory import held_bytes
from fcclip.vocabulary import Vocabulary
from fcclip.zoo import CONFIG_SUFFIXES, find_pretrained, published_models, shipped_models

WORDS_BYTES = 64_000_000  # of encoded vocabularies, per model
NOT_ON_DISK = ("MODEL.FC_CLIP.TEXT_CACHE", "False")  # what strangers type stays in memory


class UnknownModelError(ValueError):
    """This server offers no model of that name."""


class NamesError(ValueError):
    """The names that were asked for are none, or more than are allowed."""


@dataclass(frozen=True, eq=False)
class KnownWords:
    """A vocabulary, encoded for one model.

    Attributes:
        classes: as `Segmenter.predict` takes them.
        unknown: names with a word that the model was never trained on; what it finds for them means nothing.
        nbytes: of the embeddings.
    """

    classes: EncodedVocabulary
    unknown: tuple[str, ...]
    nbytes: int


class Words:
    """The vocabularies that one model was asked for last, encoded; those of many people are often the same.

    Args:
        segmenter: the model.
        most_bytes: of the embeddings that are kept; the least recently used go first.
    """

    def __init__(self, segmenter: Segmenter, most_bytes: int = WORDS_BYTES) -> None:
        self._segmenter = segmenter
        self._most_bytes = most_bytes
        self._known: OrderedDict[Vocabulary, KnownWords] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the vocabularies that are kept."""
        with self._lock:
            return sum(words.nbytes for words in self._known.values())

    def encode(self, vocabulary: Vocabulary) -> KnownWords:
        """As `Segmenter.encode_vocabulary`; of several threads one encodes, the others wait for it."""
        with self._lock:
            found = self._known.get(vocabulary)
            if found is None:
                found = self._encode(vocabulary)
            self._known[vocabulary] = found
            self._known.move_to_end(vocabulary)
            self._trim()
            return found

    def _encode(self, vocabulary: Vocabulary) -> KnownWords:
        classes = self._segmenter.encode_vocabulary(vocabulary)
        unknown = self._segmenter.model.vocabularies.unknown(vocabulary)
        return KnownWords(classes, tuple(unknown), held_bytes(classes))

    def _trim(self) -> None:
        total = sum(words.nbytes for words in self._known.values())
        while total > self._most_bytes and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            total -= oldest.nbytes


class _Loaded:
    """A model in memory, with a lock for each thing that it does for one person at a time."""

    def __init__(self, segmenter: Segmenter) -> None:
        self.segmenter = segmenter
        self.words = Words(segmenter)
        self.pictures = threading.Lock()  # the network
        self.answers = threading.Lock()  # masks at full size, which take the most memory


class Models:
    """The models that are offered, by name; the first one is asked where none is named.

        models = Models(["panoshapes"])
        encoded = models.encode(picture)
        models.answer(encoded, models.words(Vocabulary.from_string("red star; grass=stuff")))

    Threads may ask at once: every model encodes one picture at a time, and meanwhile answers for another. Its words
    are kept in memory only.

    Args:
        offered: names of trained models, checkpoints, folders or YAML files; a path is offered by its last part.
        keep: the most models in memory; the least recently used is let go.
        load: gives the model of an entry of `offered`.
        device, fast: as in `Segmenter.from_pretrained`.

    Raises:
        ValueError: there is no such model, or two of one name.
        FileNotFoundError: a file is missing.
    """

    def __init__(
        self,
        offered: Sequence[str | Path],
        keep: int = 2,
        load: Callable[[str], Segmenter] | None = None,
        device: str | None = None,
        fast: bool = False,
    ) -> None:
        if not offered or keep < 1:
            raise ValueError("a server offers at least one model and keeps at least one; name one with --model")
        self._load = load or (lambda source: load_model(source, device, fast))
        self._sources: dict[str, str] = {}
        for source in map(str, offered):
            if load is None:
                require_model(source)
            name = public_name(source)
            if name in self._sources:
                raise ValueError(f'two models would be offered as "{name}"; rename one, or leave it out')
            self._sources[name] = source
        self._keep = keep
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()
        self._loading = {name: threading.Lock() for name in self._sources}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """Under which they are offered, the first one by default."""
        return list(self._sources)

    @property
    def loaded(self) -> list[str]:
        """Those that are in memory."""
        with self._lock:
            return list(self._loaded)

    def get(self, name: str | None = None) -> Segmenter:
        """The model of a name, loaded if need be; of several threads one loads, the others wait.

        Raises:
            UnknownModelError: none of that name is offered.
            OSError, ValueError, RuntimeError: it cannot be loaded; says why.
        """
        return self._open(name).segmenter

    def choose(self, name: str | None) -> str:
        """The name itself, or that of the first model for None and "".

        Raises:
            UnknownModelError: none of that name is offered.
        """
        chosen = name or self.names[0]
        if chosen not in self._sources:
            raise UnknownModelError(f'there is no model "{chosen[:60]}" here; choose from {", ".join(self.names)}')
        return chosen

    def encode(self, image: np.ndarray, name: str | None = None) -> EncodedPicture:
        """As `Segmenter.encode`, one picture at a time; other callers wait for their turn."""
        model = self._open(name)
        with model.pictures:
            return model.segmenter.encode(image)

    def words(self, vocabulary: Vocabulary, name: str | None = None) -> KnownWords:
        """A vocabulary as `answer` takes it, encoded unless somebody asked for the same lately."""
        return self._open(name).words.encode(vocabulary)

    def answer(self, picture: EncodedPicture, words: KnownWords, name: str | None = None) -> Segmentation:
        """As `Segmenter.predict`, one answer at a time."""
        model = self._open(name)
        with model.answers:
            return model.segmenter.predict(picture, vocabulary=words.classes)

    def _open(self, name: str | None) -> _Loaded:
        name = self.choose(name)
        with self._loading[name]:  # whoever comes while it is loaded waits here, and those of other models do not
            found = self._find(name)
            if found is None:
                found = _Loaded(self._load(self._sources[name]))
            with self._lock:
                self._loaded[name] = found
                self._loaded.move_to_end(name)
                while len(self._loaded) > self._keep:
                    self._loaded.popitem(last=False)
            return found

    def _find(self, name: str) -> _Loaded | None:
        with self._lock:
            return self._loaded.get(name)


def public_name(source: str) -> str:
    """How a model is offered: the last part of a path without its suffix, so that no folder is told to strangers."""
    if source in shipped_models() or source in published_models():
        return source
    path = Path(source).expanduser()
    return path.name if path.is_dir() else path.stem


def require_model(source: str) -> None:
    """See that there is such a model; nothing is fetched or loaded.

    Raises:
        ValueError, FileNotFoundError: there is none.
    """
    if source not in published_models() and not _is_config(source):
        find_pretrained(source)


def load_model(source: str, device: str | None = None, fast: bool = False) -> Segmenter:
    """A trained model by name, checkpoint or folder, or the model of a YAML file; it writes no words to the disk."""
    if _is_config(source):
        return Segmenter.from_config(source, NOT_ON_DISK, device=device, fast=fast)
    return Segmenter.from_pretrained(source, NOT_ON_DISK, device, fast)


def _is_config(source: str) -> bool:
    return Path(source).suffix in CONFIG_SUFFIXES and Path(source).expanduser().is_file()
