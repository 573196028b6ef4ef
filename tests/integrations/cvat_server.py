"""A CVAT server with one task, as far as CVAT's SDK asks it in order to annotate the task."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

TASK, TOKEN = 12, "secret"
LIST = {"next": None, "previous": None}


@dataclass
class CvatServer:
    """The server.

    Attributes:
        kinds: label -> its type; ids count from 100.
        pictures: (H, W, 3) uint8 by name.
        sent: what was uploaded: method and body.
    """

    kinds: Mapping[str, str]
    pictures: Mapping[str, np.ndarray]
    url: str = ""
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def label_id(self, name: str) -> int:
        return 100 + list(self.kinds).index(name)

    def get(self, path: str) -> Any:
        """The answer to a GET; None if there is no such address."""
        task = {
            "url": f"{self.url}/api/tasks/{TASK}",
            "id": TASK,
            "name": "scenes",
            "organization": None,
            "size": len(self.pictures),
            "data_chunk_size": len(self.pictures),
            "data_original_chunk_type": "imageset",
            "updated_date": "2026-01-01T00:00:00Z",
            "jobs": {"count": 1, "completed": 0, "validation": 0, "url": ""},
            "labels": {"url": ""},
        }
        answers: dict[str, Any] = {
            "/api/server/about": {
                "name": "CVAT",
                "description": "",
                "version": "2.80.0",
                "logo_url": "",
                "subtitle": "",
            },
            f"/api/tasks/{TASK}": task,
            "/api/labels": {
                **LIST,
                "count": len(self.kinds),
                "results": [
                    {"id": self.label_id(name), "name": name, "type": kind, "attributes": [], "sublabels": []}
                    for name, kind in self.kinds.items()
                ],
            },
            f"/api/tasks/{TASK}/data/meta": {
                "chunks_updated_date": "2026-01-01T00:00:00Z",
                "deleted_frames": [],
                "frames": [
                    {"name": name, "width": picture.shape[1], "height": picture.shape[0], "related_files": 0}
                    for name, picture in self.pictures.items()
                ],
            },
        }
        return answers.get(path)

    def chunk(self) -> bytes:
        """All pictures, in a ZIP."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, picture in self.pictures.items():
                with archive.open(name, "w") as file:
                    Image.fromarray(picture).save(file, "PNG")
        return content.getvalue()

    @contextmanager
    def running(self) -> Iterator[CvatServer]:
        """Answer at `url` for the time being."""
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = urlsplit(self.path).path.rstrip("/")
                if path == f"/api/tasks/{TASK}/data":
                    self.reply(200, fake.chunk(), "application/zip")
                    return
                answer = fake.get(path)
                allowed = path == "/api/server/about" or self.headers.get("Authorization") == f"Bearer {TOKEN}"
                status = 401 if not allowed else 404 if answer is None else 200
                self.reply(status, json.dumps(answer if status == 200 else {"detail": "no"}).encode())

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                fake.sent.append((self.command, body))
                self.reply(200, b'{"version": 1, "tags": [], "shapes": [], "tracks": []}')

            do_PUT = do_PATCH

            def reply(self, status: int, content: bytes, kind: str = "application/vnd.cvat+json") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield self
            finally:
                server.shutdown()
