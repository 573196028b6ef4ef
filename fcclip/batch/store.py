"""A folder that may be anywhere: on this machine, in a bucket, or wherever else fsspec reaches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from fcclip.files.atomic import atomic_path
from fcclip.files.places import require_writable_folder

# Here a file appears when all of it has arrived; elsewhere it is sent under another name and then renamed.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "hf", "memory"}
PROBE = ".fcclip-probe"


def split_address(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Raises:
        ValueError: no installed package reaches that kind of address.
    """
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{address} cannot be reached: {error}") from error
    return fs, str(path)


class Store:
    """The files below an address; every one is written whole or not at all.

    Args:
        address: a path, or s3://bucket/folder, gs://..., hf://...
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self.fs, self.root = split_address(self.address)
        protocols = self.fs.protocol if isinstance(self.fs.protocol, tuple | list) else (self.fs.protocol,)
        self.is_local = "file" in protocols
        self._appears_whole = bool(OBJECT_STORES.intersection(protocols))

    def path(self, name: str) -> str:
        """The path of a file in the file system."""
        return f"{self.root}/{name}"

    def require_writable(self) -> None:
        """Try whether files can be written and deleted.

        Raises:
            ValueError: they cannot; says why.
        """
        if self.is_local:
            require_writable_folder(self.root)
            return
        try:
            self.fs.pipe_file(self.path(PROBE), b"")
            self.fs.rm_file(self.path(PROBE))
        except Exception as error:  # every kind of store has errors of its own
            raise ValueError(
                f"nothing can be written to {self.address} ({type(error).__name__}: {error}); check the address and "
                "the rights, or name another place"
            ) from error

    def read(self, name: str) -> bytes | None:
        """The content of a file, None where there is none."""
        try:
            return bytes(self.fs.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def read_json(self, name: str) -> dict[str, Any] | None:
        """The object in a JSON file, None where there is no file.

        Raises:
            ValueError: the file holds no JSON object.
        """
        content = self.read(name)
        try:
            value = None if content is None else json.loads(content)
        except ValueError as error:
            raise ValueError(f"{self.address}/{name} is damaged ({error}); delete it, or name another place") from error
        return value

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        if self.is_local:
            with atomic_path(self.path(name)) as scratch:
                scratch.write_bytes(content)
        elif self._appears_whole:
            self.fs.pipe_file(self.path(name), content)
        else:
            with _Renamed(self.fs, self.path(name)) as path:
                self.fs.pipe_file(path, content)

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as JSON."""
        self.write(name, (json.dumps(value, indent=2) + "\n").encode())

    def put(self, name: str, file: Path) -> None:
        """Copy a file of this machine here."""
        if self.is_local:
            with atomic_path(self.path(name)) as scratch:
                shutil.copyfile(file, scratch)
        elif self._appears_whole:
            self.fs.put_file(str(file), self.path(name))
        else:
            with _Renamed(self.fs, self.path(name)) as path:
                self.fs.put_file(str(file), path)

    def open(self, name: str) -> IO[bytes]:
        """A file for reading at any place of it."""
        file: IO[bytes] = self.fs.open(self.path(name), "rb")
        return file

    def names(self, folder: str, prefix: str = "") -> list[str]:
        """Names of the files in a folder that begin with `prefix`, sorted; none where there is no folder."""
        self.fs.invalidate_cache()
        by_prefix = {"prefix": prefix} if prefix and hasattr(self.fs, "s3") else {}
        try:
            if by_prefix:
                found = self.fs.find(self.path(folder), **by_prefix)
            else:
                found = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (path.rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if name.startswith(prefix) and not name.startswith("."))

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        try:
            self.fs.rm_file(self.path(name))
        except FileNotFoundError:
            return


class _Renamed:
    """A name to write under; the file is moved to its own name when the block ends without an error."""

    def __init__(self, fs: Any, path: str) -> None:
        self._fs, self._path = fs, path
        folder, _, name = path.rpartition("/")
        self._scratch = f"{folder}/.{name}-{uuid4().hex[:8]}"

    def __enter__(self) -> str:
        self._fs.makedirs(self._scratch.rpartition("/")[0], exist_ok=True)
        return self._scratch

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._fs.mv(self._scratch, self._path)
        elif self._fs.exists(self._scratch):
            self._fs.rm_file(self._scratch)


def walk_files(fs: Any, folder: str) -> Iterator[str]:
    """Paths of the visible files below a folder, sorted folder by folder; one folder is listed at a time."""
    for parent, folders, files in fs.walk(folder, topdown=True):
        folders[:] = _visible(folders)
        yield from (f"{parent.rstrip('/')}/{name}" for name in _visible(files))


def _visible(names: list[str]) -> list[str]:
    return sorted(name for name in names if name and not name.startswith("."))
