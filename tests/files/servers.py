"""A web server on this machine that serves files well or badly: as a plain one, and as the Hugging Face hub does."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1 << 16  # bytes


@dataclass
class Served:
    """A file, and what goes wrong with it.

    Attributes:
        content: the bytes.
        ranges: whether a part can be asked for.
        cuts: of the next requests, after how many bytes the connection is cut.
        failures: status codes that the next requests get.
        kind: Content-Type.
        etag: "" for none.
        wait: the answers wait for this event.
        shift: a part is said to begin so many bytes later than was asked for.
        pause: seconds between two blocks of the content.
    """

    content: bytes
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    kind: str = "application/octet-stream"
    etag: str = '"first"'
    wait: threading.Event | None = None
    shift: int = 0
    pause: float = 0.0


@dataclass
class Request:
    """What was asked for."""

    method: str
    path: str
    headers: dict[str, str]


class Server:
    """Serves `files` by path; "/ORG/NAME/resolve/REVISION/FILE" of a file "/FILE" as the hub does, by a redirect."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[Request] = []
        self.linked_digest: str | None = None  # what the hub says; by default the truth
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _QuietServer(("127.0.0.1", 0), handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.other_host = f"http://localhost:{self.port}"

    @contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def gets(self) -> list[Request]:
        return [request for request in self.requests if request.method == "GET"]


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._note()
        if "/resolve/" not in self.path:
            self._refuse(404)
            return
        served = self.owner.files.get("/" + self.path.rsplit("/", 1)[1])
        if served is None or served.failures:
            self._refuse(served.failures.pop(0) if served else 404)
            return
        digest = self.owner.linked_digest or hashlib.sha256(served.content).hexdigest()
        self.send_response(302)
        self.send_header("Location", f"{self.owner.other_host}/{self.path.rsplit('/', 1)[1]}")
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("X-Linked-Etag", f'"{digest}"')
        self.send_header("X-Linked-Size", str(len(served.content)))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self._note()
        served = self.owner.files.get(self.path)
        if served is None or served.failures:
            self._refuse(served.failures.pop(0) if served else 404)
            return
        if served.wait is not None:
            served.wait.wait(10)
        body = served.content
        wanted = self.headers.get("Range") if served.ranges else None
        start = 0
        if wanted and self.headers.get("If-Range") == served.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(body) > 0:
            self._refuse(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start + served.shift}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Type", served.kind)
        self.send_header("Content-Length", str(len(body) - start))
        if served.etag:
            self.send_header("ETag", served.etag)
        self.end_headers()
        end = len(body)
        if served.cuts:
            end = min(end, start + served.cuts.pop(0))
        step = BLOCK if served.pause else max(1, len(body))
        for begin in range(start, end, step):
            self.wfile.write(body[begin : min(end, begin + step)])
            time.sleep(served.pause)
        if end < len(body):
            self.close_connection = True

    def _note(self) -> None:
        self.owner.requests.append(Request(self.command, self.path, dict(self.headers)))

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass
