"""Bringing the bytes of one file over HTTP, and going on where they were cut."""

from __future__ import annotations

import errno
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlparse

import requests
from tqdm import tqdm

logger = logging.getLogger(__name__)

TRIES = 5  # in a row that bring no byte
PAUSE = 1.0  # seconds before the first repetition, doubled before each further one
LONGEST_PAUSE = 30.0
TIMEOUT = (15, 60)  # seconds to connect, and without a byte
CHUNK = 1 << 16  # bytes; of one that is cut nothing is kept
BUSY = (408, 425, 429, 500, 502, 503, 504)
NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
SOME_ROOM = 64 << 20  # bytes that are left free on a disk

Result = TypeVar("Result")


class TransferError(Exception):
    """One source did not give the file; the message is the reason, without an address."""


class TransientError(TransferError):
    """As `TransferError`, but trying again may help."""


class DiskFullError(TransferError):
    """There is no room for the file, so that no other source helps."""


def fetch_url(url: str, partial: Path, headers: Mapping[str, str] | None = None) -> None:
    """Bring what is at an address into `partial`, from where an earlier call was cut if the server allows that.

    What is there already is trusted only if the server says, by its ETag or date, that the file is still the same:
    these are kept beside it until the file is whole.

    Args:
        url: http or https; redirects are followed.
        partial: the file to write; after an error it keeps what came.
        headers: sent along, and not passed on to another host.

    Raises:
        TransferError: the server cannot be reached, refuses, sends a page or too little, or the disk is full.
    """
    persist(lambda: _transfer(url, partial, dict(headers or {})), partial)
    _validator_file(partial).unlink(missing_ok=True)


def persist(action: Callable[[], Result], partial: Path | None = None) -> Result:
    """Call `action` until it raises no `TransientError`; after `TRIES` that did not let `partial` grow, raise that."""
    failures = 0
    while True:
        before = _size(partial)
        try:
            return action()
        except TransientError as error:
            failures = 1 if _size(partial) > before else failures + 1
            if failures >= TRIES:
                raise
            pause = min(LONGEST_PAUSE, PAUSE * 2 ** (failures - 1))
            logger.warning("%s; trying again in %.0f s", error, pause)
            time.sleep(pause)


def is_full_disk(error: OSError) -> bool:
    """Whether a file could not be written for want of room, also if another error tells of it."""
    cause = error.__cause__
    return error.errno in NO_ROOM or (isinstance(cause, OSError) and is_full_disk(cause))


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise `DiskFullError` if a folder's disk has not `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if needed + SOME_ROOM > free:
        raise DiskFullError(f"{what} needs {readable_size(needed)} and {folder} has {readable_size(free)} free")


def readable_size(size: float) -> str:
    """As "1.7 GB"."""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _transfer(url: str, partial: Path, headers: dict[str, str]) -> None:
    offset = _size(partial)
    validator = _read_validator(partial, url) if offset else ""
    if not validator:
        offset = 0
    headers = {**headers, "Accept-Encoding": "identity"}  # bytes are counted
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # what is here is not the beginning of what is there
                _validator_file(partial).unlink(missing_ok=True)
                raise TransientError("the server cannot go on where the transfer was cut")
            _check_answer(response)
            resumed = response.status_code == 206
            if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                _validator_file(partial).unlink(missing_ok=True)
                raise TransientError("the server went on at another place than asked for")
            _receive(response, partial, url, offset if resumed else 0)
    except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
        raise TransientError("the connection was cut") from error
    except requests.exceptions.Timeout as error:
        raise TransientError(f"{_host(url)} does not answer") from error
    except requests.exceptions.ConnectionError as error:
        kind = TransientError if _size(partial) else TransferError
        raise kind(f"{_host(url)} cannot be reached (is there a network?)") from error
    except requests.exceptions.RequestException as error:
        raise TransferError(f"{_host(url)}: {error}") from error


def _check_answer(response: requests.Response) -> None:
    status = f"{_host(response.url)} answers {response.status_code} {response.reason}"
    if response.status_code in BUSY:
        raise TransientError(status)
    if response.status_code not in (200, 206):
        raise TransferError(status)
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise TransferError(f"{_host(response.url)} sends a page of HTML instead of the file")


def _receive(response: requests.Response, partial: Path, url: str, offset: int) -> None:
    """Append the body to the first `offset` bytes of `partial`."""
    length = response.headers.get("Content-Length")
    total = offset + int(length) if length and length.isdigit() else None
    if total is not None:
        check_room(partial.parent, total - offset, "the file")
    _write_validator(partial, url, response.headers)
    try:
        with (
            partial.open("r+b" if offset else "wb") as file,
            tqdm(total=total, initial=offset, desc=partial.stem.lstrip("."), unit="B", unit_scale=True) as bar,
        ):
            file.seek(offset)
            file.truncate()
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    except OSError as error:
        if is_full_disk(error):
            raise DiskFullError(f"the disk of {partial.parent} is full") from error
        raise
    if total is not None and _size(partial) < total:
        raise TransientError("the connection was cut")


def _validator_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.from")


def _write_validator(partial: Path, url: str, headers: Mapping[str, str]) -> None:
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    _validator_file(partial).write_text(f"{url.partition('?')[0]}\n{validator}\n", encoding="utf-8")


def _read_validator(partial: Path, url: str) -> str:
    """What `If-Range` needs; "" if nothing is known, or `partial` came from elsewhere."""
    path = _validator_file(partial)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return lines[1] if len(lines) == 2 and lines[0] == url.partition("?")[0] else ""


def _size(path: Path | None) -> int:
    return path.stat().st_size if path is not None and path.is_file() else 0


def _host(url: str) -> str:
    return urlparse(url).netloc or url
