"""What the page says and shows after every click; whatever goes wrong becomes a sentence on it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from fcclip.drawing.style import View
from fcclip.files.images import ImageTooLargeError, UnreadableImageError, decode_image
from fcclip.formats.masks import choose_view
from fcclip.segmentation import Segmentation
from fcclip.serving.downloads import make_download
from fcclip.serving.examples import Example
from fcclip.serving.forms import plain_name
from fcclip.serving.sessions import Answer, NoPictureError, Sessions
from fcclip.serving.shown import shown_result
from fcclip.serving.tabs import Look, Seen, Tab, Tabs

FAILED = "Something went wrong on the server, and is written in its log. Try again, or take another picture."
NOT_YET = "There is no result yet; drop a picture, type names and press Find."
NO_PICTURE = "There is no picture yet; drop one, or take an example."
EXPIRED = "This result was let go after a long time; press Find again."
GONE = "The picture is no longer on the server; drop it again."

logger = logging.getLogger(__name__)
Message = dict[str, Any]  # `text` and `error`, for `showMessage` of page.js
CLEAR: Message = {"text": "", "error": False}
ENCODING: Message = {
    "text": "Encoding the picture, once. Other names are then answered from what is encoded …",
    "error": False,
}


class Replies:
    """Answers clicks, each in the session of the tab that it comes from; `click` is its number there, which rises.

    Args:
        sessions: keep the picture of every user.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._tabs = Tabs()

    def run(
        self, request: gr.Request, click: int, path: str | None, names: str, model: str, *look: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Encode the picture, unless it is the one of before, and look for names: result, note and status."""
        tab = self._tab(request)
        tab.ask(click)
        for reply in self._answers(request, tab, click, path, names, model, *look):
            yield _newest(tab, click, *reply)
            if not tab.is_newest(click):
                return

    def redraw(self, request: gr.Request, click: int, *look: Any) -> tuple[Any, ...]:
        """The result with other looks, and a status; nothing before there is a result."""
        tab = self._tab(request)
        nothing = gr.skip(), gr.skip()
        try:
            chosen = Look.of(*look)
            tab.choose(click, chosen)
            seen, drawn = None, nothing
            while tab.seen is not seen:  # other names may be answered meanwhile
                seen = tab.seen
                drawn = self._drawn(request, seen, chosen) if seen else nothing
            return drawn if tab.choose(click, chosen) is chosen else nothing
        except Exception as error:  # noqa: BLE001 - the user is told
            return gr.skip(), _tell(error)

    def download(self, kind: str) -> Callable[..., tuple[Any, ...]]:
        """What a button does that gives a file: the file for `saveFile` of page.js, and a status."""

        def reply(request: gr.Request, _: int, *look: Any) -> tuple[Any, ...]:
            seen = self._tab(request).seen
            if seen is None:
                return gr.skip(), _tell(ValueError(NOT_YET))
            try:
                chosen = Look.of(*look)
                result = self._again(request, seen).above(chosen.least)
                style = replace(chosen.style, view=_view_of(result, chosen.style.view))
                file = make_download(result, style, kind, plain_name(seen.path))
            except Exception as error:  # noqa: BLE001 - the user is told
                return gr.skip(), _tell(error)
            content = {"name": file.name, "type": file.media_type, "data": base64.b64encode(file.content).decode()}
            return content, _say(f"{file.name} is ready, {len(file.content) / 1000:,.0f} kB.")

        return reply

    def check(self, request: gr.Request, click: int, path: str | None) -> tuple[Any, ...]:
        """What a new picture does: the old result goes, and a file that is no picture is told of at once."""
        tab = self._tab(request)
        tab.forget(click)
        try:
            height, width = self._read(path).shape[:2]
            status = _say(f"A picture of {width} x {height} pixels.")
        except Exception as error:  # noqa: BLE001 - the user is told
            status = _tell(error)
        return _newest(tab, click, None, CLEAR, status)

    def clear(self, request: gr.Request, click: int) -> tuple[Any, ...]:
        """No picture, no result."""
        tab = self._tab(request)
        tab.forget(click)
        return _newest(tab, click, None, CLEAR, CLEAR)

    def take(self, example: Example) -> Callable[..., tuple[Any, ...]]:
        """What the button of an example does: its picture and its names."""

        def reply(request: gr.Request, click: int) -> tuple[Any, ...]:
            return example.render(), example.names, *self.clear(request, click)

        return reply

    def leave(self, request: gr.Request) -> None:
        """Let the session of a tab go that was closed."""
        self._sessions.close(_key(request))
        self._tabs.close(_key(request))

    def _tab(self, request: gr.Request) -> Tab:
        return self._tabs.get(_key(request))

    def _answers(
        self, request: gr.Request, tab: Tab, click: int, path: str | None, names: str, model: str, *look: Any
    ) -> Iterator[tuple[Any, ...]]:
        """The steps of `run`."""
        try:
            note = _say(self._sessions.limits.read_names(names).describe())
        except ValueError as error:
            yield gr.skip(), _tell(error), CLEAR
            return
        try:
            chosen = Look.of(*look)
            tab.choose(click, chosen)
            session = self._sessions.get(_key(request))
            seen, encoding = tab.seen, 0.0
            if seen is None or session.image is None or (seen.path, seen.model) != (path, model):
                image = self._read(path)
                yield gr.skip(), note, ENCODING
                encoding = session.show(image, model)
            answer = session.ask(names, model)
            if encoding or seen is None:
                seen = Seen(str(path), model, encoding + answer.seconds, names)
            tab.answer(click, replace(seen, names=names))
            drawn = None
            while drawn is not (look_now := tab.choose(click, chosen)):  # which may change meanwhile
                (shown, remark), drawn = _show(answer.segmentation, look_now), look_now
            status = _say(_times(seen.first, encoding, answer) + remark)
            yield shown, _warn(note, answer.unknown), status
        except Exception as error:  # noqa: BLE001 - the user is told
            yield gr.skip(), note, _tell(error)

    def _drawn(self, request: gr.Request, seen: Seen, look: Look) -> tuple[Any, ...]:
        """The last answer of a tab with other looks, and a status."""
        shown, remark = _show(self._again(request, seen), look)
        return shown, _say(remark.strip()) if remark else gr.skip()

    def _again(self, request: gr.Request, seen: Seen) -> Segmentation:
        """The last answer of a tab.

        Raises:
            ValueError: its session was let go.
        """
        try:
            return self._sessions.get(_key(request)).ask(seen.names, seen.model).segmentation
        except NoPictureError:
            raise ValueError(EXPIRED) from None

    def _read(self, path: str | None) -> np.ndarray:
        """The picture that a user gave.

        Raises:
            ValueError: there is none, or it is no picture or too large; without the server's own path.
        """
        if not path:
            raise ValueError(NO_PICTURE)
        name = Path(path).name
        try:
            with Path(path).open("rb") as file:
                return decode_image(file, name, self._sessions.limits.check_picture)
        except FileNotFoundError:
            raise ValueError(GONE) from None
        except ImageTooLargeError:
            raise
        except UnreadableImageError as error:
            reason = str(error).split(": cannot identify")[0]
            raise ValueError(f"{reason}; take a PNG, JPEG, WebP, GIF, BMP or TIFF.") from None


def _key(request: gr.Request) -> str:
    """The name of a tab's session; gradio makes a new one whenever the page is loaded."""
    return str(request.session_hash)


def _newest(tab: Tab, click: int, *reply: Any) -> tuple[Any, ...]:
    """A reply; one that leaves everything as it is if its tab has asked something since."""
    return reply if tab.is_newest(click) else tuple(gr.skip() for _ in reply)


def _show(result: Segmentation, look: Look) -> tuple[dict[str, Any], str]:
    """What page.js shows of a result, and a remark if it is not the view that was chosen."""
    view = _view_of(result, look.style.view)
    remark = (
        "" if view == look.style.view else f" This model gives no {look.style.view} result; the {view} one is shown."
    )
    return shown_result(result.above(look.least), replace(look.style, view=view)), remark


def _view_of(result: Segmentation, wanted: View | None) -> View:
    """The view that is wanted, or the first that there is."""
    try:
        return choose_view(result, wanted)
    except ValueError:
        return choose_view(result, None)


def _times(first: float, encoding: float, answer: Answer) -> str:
    """How long an answer took, and why."""
    if encoding:
        return f"First answer {_seconds(first)}, with {_seconds(encoding)} to encode the picture."
    again = "for which the picture was encoded once more" if answer.encoded_again else "from the encoded picture"
    return f"First answer {_seconds(first)}; these names {_seconds(answer.seconds)}, {again}."


def _warn(note: Message, unknown: tuple[str, ...]) -> Message:
    """The note on the names, with those that the model cannot know."""
    if not unknown:
        return note
    quoted = ", ".join(f"“{name}”" for name in unknown)
    return _say(f"{note['text']}. This model was never shown a word of {quoted}: what it finds for them means nothing.")


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 1 else f"{value:.2f} s" if value >= 0.01 else f"{1000 * value:.1f} ms"


def _say(text: str) -> Message:
    return {"text": text, "error": False}


def _tell(error: Exception) -> Message:
    """An error as a sentence: what a user can mend in its own words, anything else in the log."""
    if not isinstance(error, ValueError):
        logger.error("a reply of the page failed", exc_info=error)
        return {"text": FAILED, "error": True}
    text = str(error)
    return {"text": text[:1].upper() + text[1:], "error": True}
