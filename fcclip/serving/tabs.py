"""What each tab of a browser asked last: a late answer to an earlier click never takes the place of a newer one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from fcclip.drawing.style import DrawStyle, View

MOST_TABS = 10_000


@dataclass(frozen=True)
class Seen:
    """What a tab was answered.

    Attributes:
        path: of the picture.
        model: that encoded it.
        first: seconds of the first answer, with the encoding.
        names: last asked.
    """

    path: str
    model: str
    first: float
    names: str


@dataclass(frozen=True)
class Look:
    """What was chosen of the looks; `of` takes the values in the order of the page."""

    style: DrawStyle
    least: float

    @classmethod
    def of(cls, view: View, opacity: float, least: float, labels: bool, outlines: bool, color_blind: bool) -> Look:
        style = DrawStyle(
            alpha=opacity,
            view=view,
            labels="on" if labels else "none",
            outlines=outlines,
            palette="color-blind" if color_blind else "names",
        )
        return cls(style, least)


class Tab:
    """One tab of a browser, which numbers its clicks: replies to them are worked on at once, and end in any order.

    tab = Tab()
    tab.ask(1)
    tab.ask(2)
    tab.is_newest(1)  # False: the first question gets no answer any more
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._question = self._choice = -1
        self._look: Look | None = None
        self._seen: Seen | None = None

    @property
    def seen(self) -> Seen | None:
        """What was answered last; None before the first answer to a picture."""
        return self._seen

    def ask(self, click: int) -> None:
        """Begin a question, unless a newer one was begun."""
        with self._lock:
            self._question = max(self._question, click)

    def forget(self, click: int) -> None:
        """Begin with another picture, of which nothing was answered, unless a newer question was begun."""
        with self._lock:
            if click > self._question:
                self._question, self._seen = click, None

    def is_newest(self, click: int) -> bool:
        """Whether no newer question was begun."""
        return self._question == click

    def answer(self, click: int, seen: Seen) -> None:
        """Keep what was answered, unless a newer question was begun."""
        with self._lock:
            if self._question == click:
                self._seen = seen

    def choose(self, click: int, look: Look) -> Look:
        """Keep how results are to look, and return what was chosen last: by this click, or by a newer one."""
        with self._lock:
            if self._look is None or click > self._choice:
                self._choice, self._look = click, look
            return self._look


class Tabs:
    """Tabs by key. Only the `most` that were used last are kept.

    Args:
        most: tabs.
    """

    def __init__(self, most: int = MOST_TABS) -> None:
        self._most = most
        self._by_key: OrderedDict[str, Tab] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: str) -> Tab:
        """The tab of a key; a new one if there is none."""
        with self._lock:
            tab = self._by_key.setdefault(key, Tab())
            self._by_key.move_to_end(key)
            if len(self._by_key) > self._most:
                self._by_key.popitem(last=False)
            return tab

    def close(self, key: str) -> None:
        """Forget a tab."""
        with self._lock:
            self._by_key.pop(key, None)
