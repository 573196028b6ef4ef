"""Files that are fetched once: by one process at a time, resumed, checked, and renamed into place when whole."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from fcclip.files.atomic import write_text
from fcclip.files.sources import Expected, Source
from fcclip.files.transfer import DiskFullError, TransferError, readable_size

logger = logging.getLogger(__name__)

_HTML = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)
_RECORD = re.compile(r"([0-9a-f]{64})  ")


class DownloadError(FileNotFoundError):
    """A file is not here: it could not be fetched, or is not what it should be; one sentence says what to do."""


class NotFetchedError(DownloadError):
    """No source gave the file, as where there is no network."""


def download(target: Path, sources: Sequence[Source], expected: Expected | None = None) -> Path:
    """Fetch a file unless it is there.

    The digest of a file whose digest is not known is written beside it (`NAME.sha256`, as `sha256sum` does) when it is
    first seen; a file that is fetched again later must have the same.

    Args:
        target: where it belongs.
        sources: tried in this order.
        expected: what is known of it.

    Returns:
        `target`.

    Raises:
        NotFetchedError: no source gave it; the message says where to fetch it by hand and where to put it.
        DownloadError: it is not what it should be, or there is no room.
    """
    expected = expected or Expected()
    if target.is_file():
        _check_present(target, expected)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{target.name}.lock"))
        _acquire(lock, target)
    except OSError as error:
        raise DownloadError(f"{target} cannot be written ({error}); choose a folder that you may write to") from error
    try:
        if target.is_file():  # the process that held the lock has fetched it
            return target
        partial = target.with_name(f".{target.name}.part")
        told = _fetch_from_any(target, partial, sources)
        digest = _check_fetched(target, partial, told, expected, sources)
        _write_record(target, digest)
        partial.replace(target)
    finally:
        lock.release()
    return target


def verify(path: Path, expected: Expected) -> str | None:
    """Read a whole file and compare it with what is known of it and with its record; the problem found, or None."""
    if not path.is_file():
        return "it is not there"
    size = _size_problem(path, expected)
    if size or _looks_like_html(path):
        return size or "it is a page of HTML"
    sha256 = _digest(path, "sha256")
    return _digest_problem(path, sha256, expected) or _record_problem(path, sha256)


def record_file(target: Path) -> Path:
    """Where the digest of a file is kept."""
    return target.with_name(f"{target.name}.sha256")


def _acquire(lock: FileLock, target: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is fetching %s; waiting for it", target.name)
        lock.acquire()


def _fetch_from_any(target: Path, partial: Path, sources: Sequence[Source]) -> Expected:
    """What the first source said that gave the file."""
    reasons = []
    for source in sources:
        logger.info("fetching %s from %s", target.name, source.address)
        try:
            return source.fetch(partial)
        except DiskFullError as error:
            raise DownloadError(
                f"{target} was not fetched: {error}; make room, or choose another folder, and start again: what has "
                "come is kept"
            ) from error
        except TransferError as error:
            reasons.append(str(error))
        except OSError as error:
            raise DownloadError(f"{target} cannot be written ({error})") from error
    raise NotFetchedError(f"{target.name} was not fetched: {'; '.join(reasons)}; {by_hand(target, sources)}")


def by_hand(target: Path, sources: Sequence[Source]) -> str:
    """How a person gets the file."""
    addresses = " or ".join(source.address for source in sources)
    return f"fetch it by hand from {addresses} and save it as {target}"


def _check_fetched(target: Path, partial: Path, told: Expected, expected: Expected, sources: Sequence[Source]) -> str:
    """The SHA-256 of what was fetched; what is wrong is deleted."""
    problem = "the server sent a page of HTML instead of it" if _looks_like_html(partial) else None
    problem = problem or _size_problem(partial, expected) or _size_problem(partial, told)
    if not problem:
        sha256 = _digest(partial, "sha256")
        problem = _digest_problem(partial, sha256, told) or _digest_problem(partial, sha256, expected)
        problem = problem or _record_problem(target, sha256)
    if problem:
        partial.unlink()
        raise DownloadError(f"{target.name} was fetched, but {problem}; {by_hand(target, sources)}")
    return sha256


def _check_present(target: Path, expected: Expected) -> None:
    """Look at a file that is there: at its size, and the first time at its content."""
    problem = _size_problem(target, expected)
    if not problem and not record_file(target).is_file():
        sha256 = _digest(target, "sha256")
        problem = "it is a page of HTML" if _looks_like_html(target) else _digest_problem(target, sha256, expected)
        if not problem:
            _write_record(target, sha256)
    if problem:
        raise DownloadError(f"{target} is not what it should be: {problem}; delete it, and it will be fetched anew")


def _size_problem(path: Path, expected: Expected) -> str | None:
    size = path.stat().st_size
    if not size:
        return "it is empty"
    if expected.size is None or size == expected.size:
        return None
    return f"it has {size} bytes ({readable_size(size)}) and not {expected.size} ({readable_size(expected.size)})"


def _digest_problem(path: Path, sha256: str, expected: Expected) -> str | None:
    if expected.digest is None:
        return None
    algorithm, _, digest = expected.digest.partition(":")
    found = sha256 if algorithm == "sha256" else _digest(path, algorithm)
    if found == digest:
        return None
    problem = f"its {algorithm.upper()} is {found} and not {digest}"
    if expected.is_certain:
        return f"{problem}: it was damaged on the way or changed by its owner"
    logger.warning(
        "%s: %s; that digest is from a third party, so the file is used all the same: make sure that you trust where "
        "it came from",
        path.name,
        problem,
    )
    return None


def _record_problem(target: Path, digest: str) -> str | None:
    path = record_file(target)
    match = _RECORD.match(path.read_text(encoding="utf-8")) if path.is_file() else None
    if match is None or match.group(1) == digest:
        return None
    return (
        f"its SHA-256 is {digest} and not the {match.group(1)} of the last time (delete {path} to accept the new one)"
    )


def _write_record(target: Path, digest: str) -> None:
    try:
        write_text(record_file(target), f"{digest}  {target.name}\n")
    except OSError as error:
        logger.info("the digest of %s is not recorded: %s", target, error)


def _looks_like_html(path: Path) -> bool:
    with path.open("rb") as file:
        return _HTML.match(file.read(1024)) is not None


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
