"""What belongs to one person: a picture, encoded once, of which any names may be asked; and a bounded store of many."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fcclip.files.images import ImageTooLargeError, to_rgb
from fcclip.meta_arch.pictures import EncodedPicture
from fcclip.segmentation import Segmentation
from fcclip.serving.memory import held_bytes
from fcclip.serving.models import Models, NamesError
from fcclip.vocabulary import Vocabulary

SESSION_BYTES = 20_000  # more than a session takes without a picture, to bound their number too


class NoPictureError(RuntimeError):
    """Names were asked for before a picture was shown, or after it was forgotten."""


@dataclass(frozen=True)
class Limits:
    """How much one person may ask for.

    Attributes:
        pixels: of a picture.
        names: of a vocabulary, synonyms and what is not to be named included.
        letters: of the text in which they are written.
    """

    pixels: int = 16_000_000
    names: int = 300
    letters: int = 20_000

    def check_picture(self, height: int, width: int) -> None:
        """Refuse a picture that is too large.

        Raises:
            ImageTooLargeError: it has more pixels.
        """
        if height * width > self.pixels:
            raise ImageTooLargeError(
                f"the picture has {width}x{height} pixels, more than the {self.pixels:,} that are allowed here; make "
                "it smaller"
            )

    def read_names(self, text: str) -> Vocabulary:
        """What a person typed, as classes.

        Raises:
            NamesError: there are none, too many, or one is wrong; says which.
        """
        if not text.strip():
            raise NamesError('there are no names to look for; write them like "cat,kitten; sofa; sky=stuff"')
        if len(text) > self.letters:
            raise NamesError(f"the names are {len(text):,} letters long, more than the {self.letters:,} allowed here")
        try:
            vocabulary = Vocabulary.from_string(text)
        except ValueError as error:
            raise NamesError(str(error)) from None
        count = len(vocabulary.names) + len(vocabulary.negatives)
        if count > self.names:
            raise NamesError(f"these are {count} names, more than the {self.names} allowed here; ask for fewer")
        return vocabulary


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found for one list of names.

    Attributes:
        segmentation: what was found.
        model: that found it.
        seconds: from asking to this answer, waiting for one's turn included.
        encoded_again: the picture had to be looked at once more, because another model was asked or the memory was
            needed for others.
        unknown: names with a word that the model was never trained on; what it finds for them means nothing.
    """

    segmentation: Segmentation
    model: str
    seconds: float
    encoded_again: bool
    unknown: tuple[str, ...] = ()


class Session:
    """One person's picture. Threads may use it at once; they take turns.

    Args:
        models: that are asked.
        limits: how much may be asked for.
        changed: is called when the session was used.
    """

    def __init__(
        self,
        models: Models,
        limits: Limits = DEFAULT_LIMITS,
        changed: Callable[[Session], None] = lambda session: None,
    ) -> None:
        self._models, self._limits, self._changed = models, limits, changed
        self._turn = threading.Lock()
        self._shown = _Shown(models.names[0])
        self._changing = threading.Lock()  # the store may take memory back at any moment

    @property
    def image(self) -> np.ndarray | None:
        """(H, W, 3) uint8 RGB, the picture that was shown last; None without one."""
        return self._shown.image

    @property
    def model(self) -> str:
        """The model that looked at it last."""
        return self._shown.model

    @property
    def nbytes(self) -> int:
        """Bytes of the picture and of what the model knows of it."""
        return self._shown.nbytes

    def show(self, image: np.ndarray, model: str | None = None) -> float:
        """Let a model look at a picture, which takes the place of the one before.

        Args:
            image: (H, W, 3) uint8 RGB.
            model: a name of `Models`; the first one by default.

        Returns:
            Seconds that it took, waiting for one's turn included.

        Raises:
            ValueError: it is no picture or too large, or there is no such model; the picture before then stays.
        """
        start = time.perf_counter()
        name = self._models.choose(model)
        picture = to_rgb(image)
        self._limits.check_picture(*picture.shape[:2])
        with self._turn:
            self._look(picture, name)
        self._changed(self)
        return time.perf_counter() - start

    def ask(self, names: str, model: str | None = None) -> Answer:
        """Find classes in the picture that was shown last.

        Args:
            names: as in `Vocabulary.from_string`: "cat,kitten; sofa; sky=stuff".
            model: the one to ask; by default the one that was asked before.

        Raises:
            NoPictureError: no picture was shown, or it was forgotten.
            ValueError: the names are none, wrong or too many, or there is no such model.
        """
        start = time.perf_counter()
        vocabulary = self._limits.read_names(names)
        try:
            with self._turn:
                shown = self._shown
                name = self._models.choose(model or shown.model)
                if shown.image is None:
                    raise NoPictureError(
                        "there is no picture; show one first (after some time without use it is forgotten)"
                    )
                words = self._models.words(vocabulary, name)
                encoded = shown.encoded if name == shown.model else None
                is_missing = encoded is None
                if encoded is None:
                    encoded = self._look(shown.image, name)
                found = self._models.answer(encoded, words, name)
        finally:
            self._changed(self)  # also where an answer failed, for which the picture was encoded
        return Answer(found, name, time.perf_counter() - start, is_missing, words.unknown)

    def let_go(self) -> None:
        """Give back the memory of what the model knows; the picture stays, and is looked at again when need be."""
        with self._changing:
            shown = self._shown
            self._shown = _Shown(shown.model, shown.image, None, SESSION_BYTES + held_bytes(shown.image))

    def close(self) -> None:
        """Forget the picture."""
        with self._changing:
            self._shown = _Shown(self._shown.model)

    def _look(self, image: np.ndarray, name: str) -> EncodedPicture:
        encoded = self._models.encode(image, name)
        with self._changing:
            self._shown = _Shown(name, encoded.image, encoded, SESSION_BYTES + held_bytes(encoded))
        return encoded


@dataclass(frozen=True, eq=False)
class _Shown:
    """The picture of a session, the model that looked at it, and what that knows of it."""

    model: str
    image: np.ndarray | None = None
    encoded: EncodedPicture | None = None
    nbytes: int = SESSION_BYTES


@dataclass(eq=False)
class _Kept:
    """A session, when it was used last, and how many of its bytes are counted."""

    session: Session
    used: float = 0.0
    nbytes: int = 0


class Sessions:
    """Sessions by key, of bounded memory.

    When they take more than `most_bytes`, those that were not used for the longest time first give back what the models
    know of their pictures, then their pictures. What has not been used for `most_idle_seconds` is forgotten. The
    session that was used last always stays.

        sessions = Sessions(Models(["panoshapes"]))
        session = sessions.get("somebody")
        session.show(picture)
        session.ask("red star; grass=stuff").segmentation.table()

    Args:
        models: that are asked.
        max_bytes: of all sessions together, on whichever device.
        max_idle_seconds: after which a session is forgotten.
        limits: how much one person may ask for.
        clock: tells the seconds.
    """

    def __init__(
        self,
        models: Models,
        max_bytes: int = 2_000_000_000,
        max_idle_seconds: float = 1800.0,
        limits: Limits = DEFAULT_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models, self.limits = models, limits
        self._max_bytes, self._max_idle_seconds = max_bytes, max_idle_seconds
        self._clock = clock
        self._by_key: OrderedDict[str, _Kept] = OrderedDict()  # least recently used first
        self._encoded: OrderedDict[str, None] = OrderedDict()  # keys of those that may give memory back, in that order
        self._bytes = 0  # of all, counted as they change: a request costs the same however many there are
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def nbytes(self) -> int:
        """Bytes of all sessions."""
        return self._bytes

    def get(self, key: str) -> Session:
        """The session of a key; a new one if there is none, or it was forgotten. Keep the key, not the session."""
        with self._lock:
            self._forget_idle()
            if key not in self._by_key:
                session = Session(self.models, self.limits, lambda used: self._used(key, used))
                self._by_key[key] = _Kept(session)
            self._touch(key)
            return self._by_key[key].session

    def close(self, key: str) -> None:
        """Forget a session."""
        with self._lock:
            if key in self._by_key:
                self._drop(key)

    def forget_idle(self) -> None:
        """Forget the sessions that have not been used for long."""
        with self._lock:
            self._forget_idle()

    def _used(self, key: str, session: Session) -> None:
        """Bound the memory anew after a session was used."""
        with self._lock:
            if key not in self._by_key or self._by_key[key].session is not session:
                session.close()  # it was forgotten meanwhile, and nobody counts it any more
                return
            self._touch(key)

    def _touch(self, key: str) -> None:
        """Count a session anew, as the one that was used last, and bound the memory."""
        self._by_key[key].used = self._clock()
        self._by_key.move_to_end(key)
        self._encoded[key] = None
        self._encoded.move_to_end(key)
        self._count(key)
        for keys, change in ((self._encoded, self._give_back), (self._by_key, self._drop)):
            while self._bytes > self._max_bytes and (oldest := next(iter(keys), key)) != key:
                change(oldest)

    def _count(self, key: str) -> None:
        kept = self._by_key[key]
        before, kept.nbytes = kept.nbytes, kept.session.nbytes
        self._bytes += kept.nbytes - before

    def _forget_idle(self) -> None:
        oldest = self._clock() - self._max_idle_seconds
        while self._by_key and next(iter(self._by_key.values())).used < oldest:
            self._drop(next(iter(self._by_key)))

    def _drop(self, key: str) -> None:
        kept = self._by_key.pop(key)
        self._encoded.pop(key, None)
        self._bytes -= kept.nbytes
        kept.session.close()

    def _give_back(self, key: str) -> None:
        del self._encoded[key]
        self._by_key[key].session.let_go()
        self._count(key)
