"""Unpacking archives of others: into one folder, plain files only, each whole or not there."""

from __future__ import annotations

import errno
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from fcclip.files.atomic import atomic_path
from fcclip.files.transfer import DiskFullError, check_room, is_full_disk

_CLUTTER = re.compile(r"(^|/)(__MACOSX|\.DS_Store|\._[^/]*)(/|$)")  # what macOS adds
_DRIVE = re.compile(r"^[A-Za-z]:")
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, NotImplementedError)


class ArchiveError(ValueError):
    """An archive is damaged, of another kind, or holds what it should not; the message says what to do."""


@dataclass(frozen=True)
class _Member:
    """A file in an archive."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, strip: str = "") -> int:
    """Unpack a .zip, .tar, .tar.gz or .tgz file; files of the right size that are there already are kept.

    Owners, permissions and times are not taken over. An interrupted call may be repeated.

    Args:
        archive: the file.
        folder: where its content goes.
        strip: a folder in the archive that is left out of the names.

    Returns:
        How many files it holds.

    Raises:
        ArchiveError: it is damaged, or holds a link, a device, or a name that leads out of `folder`; what came before
            is there.
        DiskFullError: there is no room.
    """
    count = 0
    try:
        with _members(archive) as (members, total):
            if total is not None:
                folder.mkdir(parents=True, exist_ok=True)
                check_room(folder, total, archive.name)
            for member in tqdm(members, desc=f"unpacking {archive.name}", unit="file"):
                target = _target(member.name, folder, strip, archive)
                if target is None:
                    continue
                count += 1
                if not (target.is_file() and target.stat().st_size == member.size):
                    _extract(member, target, archive)
    except _DAMAGED as error:
        raise ArchiveError(f"{archive} is damaged ({error}); delete it and fetch it again") from error
    except OSError as error:
        if is_full_disk(error):
            raise DiskFullError(f"the disk of {folder} is full") from error
        if error.errno in (errno.EINVAL, errno.ENAMETOOLONG):  # places in the file, and names, that cannot be
            raise ArchiveError(f"{archive} is damaged ({error.strerror}); delete it and fetch it again") from error
        raise
    return count


@contextmanager
def _members(archive: Path) -> Iterator[tuple[Iterator[_Member], int | None]]:
    """The files of an archive, and how many bytes they have together where that is known beforehand."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened, archive), sum(info.file_size for info in opened.infolist())
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened_tar:
            yield _tar_members(opened_tar, archive), None
    else:
        raise ArchiveError(f"{archive} is neither a zip nor a tar file; delete it and fetch it again")


def _zip_members(opened: zipfile.ZipFile, archive: Path) -> Iterator[_Member]:
    for info in opened.infolist():
        mode = info.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(info.filename, "is a link or a device", archive)
        if info.flag_bits & 1:
            raise _refusal(info.filename, "is encrypted", archive)
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, lambda info=info: opened.open(info))  # type: ignore[misc]


def _tar_members(opened: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for info in opened:
        if info.isdir():
            continue
        if not info.isreg():
            raise _refusal(info.name, "is a link or a device", archive)
        yield _Member(info.name, info.size, lambda info=info: _open_tar_member(opened, info))  # type: ignore[misc]


def _open_tar_member(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = opened.extractfile(info)
    assert file is not None, "only regular files are opened"
    return file


def _target(name: str, folder: Path, strip: str, archive: Path) -> Path | None:
    """Where a member goes; None for what is left out."""
    if _CLUTTER.search(name):
        return None
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or _DRIVE.match(name):
        raise _refusal(name, "leads out of the folder", archive)
    if strip:
        if path.parts[0] != strip:
            return None
        path = path.relative_to(strip)
    return folder / path if path.parts else None


def _extract(member: _Member, target: Path, archive: Path) -> None:
    with atomic_path(target) as scratch, member.open() as source, scratch.open("wb") as file:
        shutil.copyfileobj(_Limited(source, member.size), file, 1 << 20)
        if file.tell() != member.size or source.read(1):
            raise ArchiveError(
                f"{archive} is damaged ({member.name} is not as long as it says); delete it and fetch it again"
            )


class _Limited:
    """The first `size` bytes of a file: a member may not be longer than it says."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source, self._left = source, size

    def read(self, count: int = -1, /) -> bytes:
        block = self._source.read(self._left if count < 0 else min(count, self._left))
        self._left -= len(block)
        return block


def _refusal(name: str, problem: str, archive: Path) -> ArchiveError:
    return ArchiveError(f'{archive} is not unpacked: "{name}" in it {problem}, which no dataset needs; do not trust it')
