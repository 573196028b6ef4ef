"""Google Drive's pages, in the place of the transport of requests: gdown goes through them without a network."""

from __future__ import annotations

import io
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
import requests
import urllib3

CONFIRMATION = (
    '<!DOCTYPE html><html><body><form id="download-form" action="https://drive.usercontent.google.com/download">'
    '<input type="hidden" name="id" value="{id}"><input type="hidden" name="confirm" value="t"></form></body></html>'
)
QUOTA = (
    "<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>"
    '<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body></html>'
)


class Drive(requests.adapters.BaseAdapter):
    """Answers for Google Drive.

    Attributes:
        content: of the file; its page asks for a confirmation, as for files that are not scanned for viruses.
        over_quota: the page says that too many people have fetched it.
        cuts: after how many bytes the next transfers are cut.
        offline: no connection can be made.
        ranges: the Range of each transfer.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content
        self.over_quota = False
        self.cuts: list[int] = []
        self.offline = False
        self.ranges: list[str | None] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if self.offline:
            raise requests.exceptions.ConnectionError("no network")
        url = urlparse(str(request.url))
        if url.hostname == "drive.google.com":
            page = QUOTA if self.over_quota else CONFIRMATION.format(id=parse_qs(url.query)["id"][0])
            return _answer(request, 200, page.encode(), {"Content-Type": "text/html; charset=utf-8"})
        assert parse_qs(url.query)["confirm"] == ["t"]
        wanted = request.headers.get("Range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": 'attachment; filename="model.pth"',
            "Content-Length": str(len(self.content) - start),
        }
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        end = self.cuts.pop(0) if self.cuts else len(self.content)
        return _answer(request, 206 if wanted else 200, self.content[start:end], headers)

    def close(self) -> None: ...


def replace_transport(monkeypatch: pytest.MonkeyPatch, drive: Drive) -> None:
    """Let every request of the library requests be answered by `drive`."""
    monkeypatch.setattr(requests.Session, "get_adapter", lambda session, url: drive)


def _answer(request: requests.PreparedRequest, status: int, body: bytes, headers: dict[str, str]) -> requests.Response:
    raw = urllib3.HTTPResponse(io.BytesIO(body), headers=headers, status=status, preload_content=False)
    response = requests.adapters.HTTPAdapter().build_response(request, raw)
    response.reason = "OK"
    return response
