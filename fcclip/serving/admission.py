"""Who is let in: the size and the time of what is sent, and the number of those who wait, are bounded."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

import anyio

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

FORM_BYTES = 1_000_000  # that a request may have besides its picture
RETRY_SECONDS = 5
DRAINED = 3  # times what is allowed
# The browser itself refuses what would come from elsewhere; other sites may show the page in a frame.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors *; form-action 'self'"
HEADERS = ((b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"))


class _RefusedError(Exception):
    """What is being received is not to be received on."""


class Admission:
    """Bounds requests, before and while they are received.

    Args:
        app: what is asked, by the ASGI.
        most_bytes: of a picture that is sent.
        most_inside: requests of the `counted` path that wait or are answered; more are told to come again.
        seconds: in which a request has to arrive.
        root_path: the path under which a proxy shows the application.
        counted: end of the path of requests that count.
    """

    def __init__(
        self,
        app: App,
        most_bytes: int,
        most_inside: int,
        seconds: float,
        root_path: str = "",
        counted: str = "/predict",
    ) -> None:
        self._app = app
        self._most_bytes, self._most_inside, self._seconds = most_bytes, most_inside, seconds
        self._root_path, self._counted = root_path, counted
        self._inside = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._root_path:
            scope = {**scope, "root_path": self._root_path}
        counts = scope["path"].endswith(self._counted) and scope["method"] == "POST"
        if counts and self._inside >= self._most_inside:
            await refuse(send, 503, "too many people are waiting; try again in some seconds")
            return
        self._inside += counts
        try:
            await _Request(self._app, self._most_bytes, self._seconds).run(scope, receive, send)
        finally:
            self._inside -= counts


class _Request:
    """One request, which may turn out to be too large or too slow while it is received."""

    def __init__(self, app: App, most_bytes: int, seconds: float) -> None:
        self._app, self._most_bytes, self._seconds = app, most_bytes, seconds
        self._received = 0
        self._is_complete = False
        self._refusal: tuple[int, str] | None = None

    async def run(self, scope: Message, receive: Receive, send: Send) -> None:
        deadline = anyio.current_time() + self._seconds
        has_begun = False

        async def bounded_receive() -> Message:
            if self._is_complete:  # what follows is that the client goes away
                return await receive()
            with anyio.move_on_after(max(deadline - anyio.current_time(), 0)):
                return self._count(await receive())
            self._refusal = (408, f"the request took longer than {self._seconds:g} seconds to arrive")
            raise _RefusedError

        async def guarded_send(message: Message) -> None:
            nonlocal has_begun
            if self._refusal is not None and not has_begun:
                return  # whatever the application makes of its broken request
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        if _announced(scope) > self._most_bytes + FORM_BYTES:
            await refuse(send, 413, self._too_large())
            return
        with suppress(_RefusedError):
            await self._app(scope, bounded_receive, guarded_send)
        if self._refusal is not None and not has_begun:
            with anyio.move_on_after(max(deadline - anyio.current_time(), 0)):
                await self._drain(receive)
            await refuse(send, *self._refusal)

    async def _drain(self, receive: Receive) -> None:
        """Throw some more away: whoever is still sending would not read the answer."""
        while not self._is_complete and self._received < DRAINED * self._most_bytes:
            message = await receive()
            self._received += len(message.get("body", b""))
            self._is_complete = not message.get("more_body", False)

    def _count(self, message: Message) -> Message:
        self._received += len(message.get("body", b""))
        if self._received > self._most_bytes + FORM_BYTES:
            self._refusal = (413, self._too_large())
            raise _RefusedError
        self._is_complete = not message.get("more_body", False)
        return message

    def _too_large(self) -> str:
        return f"what is sent is too large: at most {self._most_bytes / 1e6:g} MB are taken; make the picture smaller"


async def refuse(send: Send, status: int, sentence: str) -> None:
    """Answer with one sentence, and hear no more of the request."""
    body = json.dumps({"error": sentence}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *HEADERS,
    ]
    if status == 503:
        headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _announced(scope: Message) -> int:
    """The length of what is sent, where it is told and a number."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
