"""A tab of the web page without a browser: it speaks to the page as the page's own script does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import requests

LOOK: tuple[Any, ...] = ("panoptic", 0.7, 0.0, True, False, False)  # in the order of `fcclip.serving.tabs.Look.of`
TIMEOUT = 120


class PageError(RuntimeError):
    """What the page said in place of an answer."""


class PageTab:
    """One user's tab.

    Args:
        address: of a `fcclip serve`.
        session: keeps the connections.
    """

    def __init__(self, address: str, session: requests.Session) -> None:
        self._address, self._session = address.rstrip("/"), session
        self._hash = secrets.token_hex(8)
        self._clicks = 0
        self._picture: dict[str, Any] | None = None
        config = self._get("/config").json()
        part = {one["props"].get("elem_id"): one for one in config["components"]}
        self._model = part["fc-model"]["props"]["value"]
        self._check = _function(config, part["fc-input"]["id"], "upload")
        self._run = _function(config, part["fc-run"]["id"], "click")

    def upload(self, png: bytes, name: str = "picture.png") -> None:
        """Drop a picture.

        Raises:
            PageError: the page does not take it.
        """
        sent = self._session.post(f"{self._address}/gradio_api/upload", files={"files": (name, png)}, timeout=TIMEOUT)
        sent.raise_for_status()
        self._picture = {"path": sent.json()[0], "meta": {"_type": "gradio.FileData"}}
        self._send(self._check, self._picture)
        for _, reply in self._replies(1):
            _told(reply)

    def ask(self, *names: str) -> tuple[list[dict[str, Any]], int]:
        """Press Find for one list of names after the other, without waiting for answers.

        Returns:
            The rows of the legend at the end, and how many answers an older question got after a newer one.

        Raises:
            PageError: the page tells an error, or shows no result.
        """
        clicks = [self._send(self._run, self._picture, text, self._model, *LOOK) for text in names]
        rows, newest, late = None, -1, 0
        for event, reply in self._replies(len(names)):
            told = _told(reply)
            if told is None:
                continue
            rows = told
            late += clicks.index(event) < newest
            newest = max(newest, clicks.index(event))
        if rows is None:
            raise PageError("no result was shown")
        return rows, late

    def _send(self, function: int, *values: Any) -> str:
        self._clicks += 1
        question = {"data": [self._clicks, *values], "fn_index": function, "session_hash": self._hash}
        reply = self._session.post(f"{self._address}/gradio_api/queue/join", json=question, timeout=TIMEOUT)
        if reply.status_code != 200:
            raise PageError(reply.text)
        return str(reply.json()["event_id"])

    def _replies(self, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """The event and the data of every reply that is complete."""
        while count:
            with self._get("/gradio_api/queue/data", session_hash=self._hash) as stream:
                for line in stream.iter_lines():
                    message = json.loads(line[len("data: ") :]) if line else {}
                    if message.get("msg") == "process_completed":
                        count -= 1
                        if not message["success"]:
                            raise PageError(str(message["output"]))
                        yield message["event_id"], message["output"]

    def _get(self, path: str, **query: str) -> requests.Response:
        reply = self._session.get(self._address + path, params=query, stream=bool(query), timeout=TIMEOUT)
        reply.raise_for_status()
        return reply


def _function(config: dict[str, Any], part: int, event: str) -> int:
    """The number of what answers an event of a part of the page."""
    return next(int(one["id"]) for one in config["dependencies"] if [part, event] in one["targets"])


def _told(reply: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows that a reply shows; None if it shows no result.

    Raises:
        PageError: it tells an error.
    """
    result, *messages = reply["data"]
    for message in messages:
        if message.get("error"):
            raise PageError(message["text"])
    return result.get("rows") if result else None
