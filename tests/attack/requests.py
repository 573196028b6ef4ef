"""Requests to the server: each gets a right answer, or a status of its own fault and one sentence of JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from fcclip import Segmenter
from fcclip.files.images import decode_image
from fcclip.serving.http import ServerLimits, build_app
from fcclip.serving.models import Models
from fcclip.serving.sessions import Limits, Sessions
from fcclip.vocabulary import Vocabulary
from tests.attack.images import encoded
from tests.attack.judge import INNER_WORDS, LONGEST_SENTENCE, Attack
from tests.attack.mutations import bit_flips, truncations
from tests.attack.words import RIGHT, WRONG
from tests.tiny import tiny_model

NAMES = "cat; dog; sky=stuff"
LIMITS = Limits(pixels=100_000, names=50, letters=2_000)
SERVER = ServerLimits(upload=200_000, queue=2, seconds=5)
PATHS = (
    "../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "file:///etc/passwd", "http://169.254.169.254/", "~/.netrc",
    "/dev/zero", "a\0b", "%2e%2e%2fetc%2fpasswd", "tiny/../tiny", "tiny\n", "TINY", "x" * 5_000, "$(id)", "{0}",
    "é" * 90,
)  # fmt: skip
FILE_NAMES = (
    "../../etc/passwd", "/etc/cron.d/job.png", "..\\..\\a.png", ".png", ".", "..", "con.png", "a b;c.png", "-rf.png",
    "x" * 3_000 + ".png", "犬.png", "a.png/", "a%00.png", "a.sh", "\u202egnp.exe", "photo.tar.gz",
)  # fmt: skip
NO_PICTURES = {
    "nothing": b"",
    "text": b"/etc/passwd",
    "HTML": b"<html><script>alert(1)</script></html>",
    "SVG that reads a file": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "PDF": b"%PDF-1.7\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "pickle": b"\x80\x04cposix\nsystem\n(S'id'\ntR.",
    "zeros": bytes(10_000),
    "head of a PNG": b"\x89PNG\r\n\x1a\n",
    "JPEG without a picture": b"\xff\xd8\xff\xd9",
}
BAD_TYPES = (
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=other",
    "multipart/mixed; boundary=x", "application/json", "text/plain", "image/png", "", "nonsense", "application/xml",
    "application/x-www-form-urlencoded", "multipart/form-data; boundary=x; charset=utf-7", "a/b" * 3_000,
)  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """What the server said.

    Attributes:
        status, kind: code and media type.
        text: the beginning of the body, to be shown where it is wrong.
        content, headers: all of it.
    """

    status: int
    kind: str
    text: str
    content: bytes = field(repr=False)
    headers: dict[str, str] = field(repr=False)


def attacks() -> Iterator[Attack]:
    yield from _pictures()
    yield from _names()
    yield from _fields()
    yield from _file_names()
    yield from _bodies()
    yield from _addresses()


def _pictures() -> Iterator[Attack]:
    for form, mode in (("PNG", "RGBA"), ("PNG", "L"), ("JPEG", "CMYK"), ("GIF", "P"), ("BMP", "RGB"), ("WEBP", "RGB")):
        data = encoded(form, mode)
        yield Attack(f"picture, {form} {mode}", partial(_post, picture=data), partial(_is_answer, picture=data))
    for what, data in NO_PICTURES.items():
        yield Attack(f"picture, {what}", partial(_post, picture=data), partial(_is_told, statuses=(415, 422)))
    for what, data in truncations(encoded("PNG", "RGB"), 6):
        yield Attack(f"picture, PNG, {what}", partial(_post, picture=data), _is_whole_or_told)
    for what, data in (*bit_flips(encoded("PNG", "RGB"), 8), *bit_flips(encoded("JPEG", "RGB"), 8)):
        yield Attack(f"picture, {data[1:4]!r} {what}", partial(_post, picture=data), _is_answer_or_told)
    for side in ((20_000, 3_000), (400, 251), (1, 65_000)):
        buffer = io.BytesIO()
        Image.new("1", side).save(buffer, "PNG")
        yield Attack(f"picture of {side}", partial(_post, picture=buffer.getvalue()), _is_answer_or_told)
    yield Attack("picture too long", partial(_post, picture=bytes(1_300_000)), partial(_is_told, statuses=(413,)))


def _names() -> Iterator[Attack]:
    for text, names in RIGHT.items():
        if ">" in text:  # a score, in the notation of a line of text
            continue
        expected = partial(_is_answer, names=text, said=[words[0] for words in names])
        yield Attack(f"names {text[:40]!r}", partial(_post, names=text), expected)
    for text in (*WRONG, "; ".join(f"n{number}" for number in range(51)), "cat " * 501, "x" * 900_000):
        if "\ud800" not in text:  # no client can send it
            told = partial(_is_told, statuses=(422,))
            yield Attack(f"names {text[:40]!r} ({len(text)})", partial(_post, names=text), told)


def _fields() -> Iterator[Attack]:
    for text in PATHS:
        for key, status in (("model", 404), ("format", 422), ("task", 422), ("masks", 422)):
            told = partial(_is_told, statuses=(status,))
            yield Attack(f"{key} {text[:30]!r}", partial(_post, **{key: text}), told)
    for key in ("model", "format", "task", "masks"):
        yield Attack(f"{key} without a value", partial(_post, **{key: ""}), _is_answer_or_told)
    for key, value in (("device", "cuda"), ("output", "/tmp/x"), ("__class__", "x"), ("picture_path", "/etc/passwd")):
        yield Attack(f"unknown field {key}", partial(_post, **{key: value}), _is_answer)
    for task in ("panoptic", "instance", "semantic"):
        yield Attack(f"task {task}", partial(_post, task=task), partial(_is_answer, task=task))
    yield Attack("drawn", partial(_post, format="png"), _is_drawn)


def _file_names() -> Iterator[Attack]:
    for name in FILE_NAMES:
        for form in ("json", "labelme", "yolo"):
            yield Attack(f"file {name[:30]!r} as {form}", partial(_post, name=name, format=form), _is_plainly_named)


def _bodies() -> Iterator[Attack]:
    told = partial(_is_told, statuses=(400, 413, 415, 422))
    whole = _part("picture", encoded("PNG", "RGB"), "a.png") + _part("names", NAMES.encode()) + b"--x--\r\n"
    for kind in BAD_TYPES:
        odd = _is_answer_or_told if "boundary=x" in kind else told
        yield Attack(f"content type {kind[:50]!r}", partial(_send, content=whole, kind=kind), odd)
    picture = whole.partition(b'--x\r\nContent-Disposition: form-data; name="names"')[0]
    bodies = {
        "nothing": b"",
        "no end": whole[:-20],
        "no picture": _part("names", b"cat") + b"--x--\r\n",
        "no names": picture + b"--x--\r\n",
        "picture as a text": _part("picture", b"/etc/passwd") + _part("names", b"cat") + b"--x--\r\n",
        "names as a file": picture + _part("names", b"cat", "/etc/passwd") + b"--x--\r\n",
        "names that are no UTF-8": picture + _part("names", b"\xff\xfe\xfa") + b"--x--\r\n",
        "1,001 fields": b"".join(_part(f"f{number}", b"1") for number in range(1_001)) + whole,
        "1,001 files": b"".join(_part(f"f{number}", b"1", "a") for number in range(1_001)) + whole,
        "a field of 1.1 MB": _part("names", b"x" * 1_100_000) + whole,
        "a head of 100 kB": _part("n" * 100_000, b"1") + whole,
        "lines without an end": b"--x\r\nContent-Disposition" * 5_000,
        "no boundary": bytes(range(256)) * 40,
    }
    for what, content in bodies.items():
        yield Attack(f"body, {what}", partial(_send, content=content), _is_answer_or_told)
    for length in ("99999999999", "-1", "abc", "1e3", "0"):
        asked = partial(_send, content=whole, headers={"Content-Length": length})
        yield Attack(f"length {length}", asked, _is_answer_or_told)
    for what, content in truncations(whole, 6):
        yield Attack(f"body, {what}", partial(_send, content=content), _is_answer_or_told)
    for data in (b"{}", b"[" * 50_000, b'{"picture": "/etc/passwd", "names": "cat"}', b"picture=/etc/passwd&names=cat"):
        for kind in ("application/json", "application/x-www-form-urlencoded"):
            yield Attack(f"{kind} {data[:30]!r}", partial(_send, content=data, kind=kind), told)


def _addresses() -> Iterator[Attack]:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "post"):
        told = partial(_is_told, statuses=(405, 422))
        yield Attack(f"method {method}", partial(_send, method=method, content=b""), told)
    for path in (
        "/predict/../../../etc/passwd", "//predict", "/PREDICT", "/predict%00", "/..%2f..%2fetc/passwd",
        "/file=/etc/passwd", "/gradio_api/file=/etc/passwd", "/docs", "/static/../fcclip", "/" + "a" * 9_000,
    ):  # fmt: skip
        told = partial(_is_told, statuses=(404, 405))
        yield Attack(f"address {path[:40]}", partial(_send, content=b"", path=path), told)
    for query in ("?model=/etc/passwd", "?names=x&format=exe", "?" + "a=1&" * 3_000):
        yield Attack(f"query {query[:30]}", partial(_post, path=f"/predict{query}"), _is_answer)


@cache
def _server() -> tuple[TestClient, Segmenter]:
    segmenter = Segmenter(tiny_model(MODEL__FC_CLIP__TEXT_CACHE=False), 64, 96)
    sessions = Sessions(Models(["tiny"], load=lambda source: segmenter), limits=LIMITS)
    return TestClient(build_app(sessions, limits=SERVER), raise_server_exceptions=False), segmenter


def _post(
    folder: Path, picture: bytes | None = None, name: str = "a.png", path: str = "/predict", **fields: str
) -> Reply:
    content = encoded("PNG", "RGB") if picture is None else picture
    form = {"names": NAMES, **fields}
    return _reply(_server()[0].post(path, files={"picture": (name, content)}, data=form))


def _send(
    folder: Path,
    content: bytes,
    kind: str = "multipart/form-data; boundary=x",
    path: str = "/predict",
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Reply:
    told = {"Content-Type": kind, **(headers or {})}
    return _reply(_server()[0].request(method, path, content=content, headers=told))


def _reply(found: Any) -> Reply:
    kind = found.headers.get("content-type", "")
    return Reply(found.status_code, kind, found.text[:200], found.content, dict(found.headers))


def _part(key: str, value: bytes, file: str | None = None) -> bytes:
    named = f'; filename="{file}"' if file else ""
    head = f'--x\r\nContent-Disposition: form-data; name="{key}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def _is_told(reply: Reply, statuses: tuple[int, ...]) -> bool:
    """One sentence of JSON, with a status that says whose fault it is, and nothing from inside the server."""
    if reply.status not in statuses or reply.kind != "application/json":
        return False
    said = json.loads(reply.content)
    if set(said) != {"error"} or not isinstance(said["error"], str):
        return False
    sentence = said["error"]
    is_one = 0 < len(sentence) <= LONGEST_SENTENCE and "\n" not in sentence
    return is_one and not any(word in sentence for word in (*INNER_WORDS, "root:", "site-packages"))


def _is_answer(
    reply: Reply,
    picture: bytes | None = None,
    names: str = NAMES,
    said: list[str] | None = None,
    task: str | None = None,
) -> bool:
    """The answer that the model gives when it is asked without a server."""
    if reply.status != 200:
        return False
    record = json.loads(reply.content)
    image = decode_image(io.BytesIO(encoded("PNG", "RGB") if picture is None else picture), "the picture")
    found = _server()[1].predict(image, vocabulary=Vocabulary.from_string(names)).to_dict(masks=True)
    key = {None: "segments", "panoptic": "segments", "instance": "instances", "semantic": "semantic"}[task]
    expected = json.loads(json.dumps(found[key]))
    return record[key] == expected and (said is None or record["names"] == said)


def _is_whole_or_told(reply: Reply) -> bool:
    """Of a picture that was cut: all pixels of the whole one were read (the last bytes hold none), or it is refused."""
    return _is_answer(reply) or _is_told(reply, (415,))


def _is_answer_or_told(reply: Reply) -> bool:
    if reply.status == 200:
        return {"segments", "height", "width"} <= set(json.loads(reply.content))
    return _is_told(reply, (400, 404, 408, 411, 413, 415, 422))


def _is_drawn(reply: Reply) -> bool:
    image = np.asarray(Image.open(io.BytesIO(reply.content)))
    return reply.status == 200 and reply.kind == "image/png" and image.ndim == 3


def _is_plainly_named(reply: Reply) -> bool:
    """Whatever the picture was called, no name in the answer leads out of a folder."""
    if reply.status != 200:
        return _is_told(reply, (400, 422))
    shown = reply.headers.get("content-disposition", "")
    inside = ZipFile(io.BytesIO(reply.content)).namelist() if reply.kind == "application/zip" else []
    called = [json.loads(reply.content).get("imagePath", "")] if reply.kind == "application/json" else []
    is_safe = all(".." not in name and not name.startswith("/") for name in (*inside, *called))
    return is_safe and not any(letter in shown for letter in "/\\") and shown.isascii()
