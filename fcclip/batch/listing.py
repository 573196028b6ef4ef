"""What a source holds, listed one image after the other and always in the same order; nothing is kept in memory."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from fcclip.batch.items import Item, bytes_column
from fcclip.batch.store import split_address, walk_files
from fcclip.files.images import IMAGE_SUFFIXES

LIST_SUFFIXES = (".txt", ".lst", ".list")
TABLE_SUFFIXES = (".parquet",)
TAR_SUFFIXES = (".tar",)
MAGIC = "*?["


def list_source(source: str, leave_out: str = "") -> Iterator[Item]:
    """The images of a source.

    Args:
        source: a folder, a glob, an image, a list of paths (.txt), a tar file or a table of images (.parquet), local or
            at any address that fsspec knows; folders and globs may hold images, tar files and tables.
        leave_out: a folder whose files do not count, such as that of the results.

    Raises:
        FileNotFoundError: there is no such source.
        ValueError: it holds no image, or something in it cannot be listed.
    """
    fs, path = split_address(source)
    apart = _path_on(fs, leave_out)
    count = 0
    for item in _list_from(fs, path, source, apart):
        yield item
        count += 1
    if not count:
        raise ValueError(
            f"there are no images in {source}; it may hold {', '.join(sorted(IMAGE_SUFFIXES))}, .tar and .parquet"
        )


def _list_from(fs: Any, path: str, source: str, leave_out: str | None) -> Iterator[Item]:
    if any(letter in path for letter in MAGIC):
        parts = path.split("/")
        fixed = next(place for place, part in enumerate(parts) if any(letter in part for letter in MAGIC))
        base, files = "/".join(parts[:fixed]), iter(sorted(fs.glob(path)))
    elif fs.isdir(path):
        base, files = path.rstrip("/"), walk_files(fs, path.rstrip("/"))
    elif fs.isfile(path):
        if path.lower().endswith(LIST_SUFFIXES):
            yield from _list_lines(fs, path)
            return
        base, files = path.rpartition("/")[0], iter([path])
    else:
        raise FileNotFoundError(f"there is no {source}; name a folder, a glob, a list, tar files or tables of images")
    for file in files:
        name = file.removeprefix(base).lstrip("/")
        is_hidden = any(part.startswith(".") for part in name.split("/"))
        if not is_hidden and (leave_out is None or not file.startswith(f"{leave_out}/")):
            yield from _list_file(fs, file, name)


def _list_file(fs: Any, file: str, name: str) -> Iterator[Item]:
    """The images in one file, by its kind; none if it is of another kind."""
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        yield Item(name, fs.unstrip_protocol(file))
    elif suffix in TAR_SUFFIXES:
        yield from _list_tar(fs, file, name.rpartition(".")[0])
    elif suffix in TABLE_SUFFIXES:
        yield from _list_table(fs, file, name.rpartition(".")[0])


def _list_tar(fs: Any, file: str, name: str) -> Iterator[Item]:
    """The images in a tar file; only the heads of its members are read."""
    address = fs.unstrip_protocol(file)
    try:
        with fs.open(file, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                archive.members = []  # type: ignore[attr-defined]  # it would grow with the file
                hidden = PurePosixPath(member.name).name.startswith(".")
                if member.isfile() and not hidden and PurePosixPath(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    inner = member.name.removeprefix("./")
                    yield Item(f"{name}/{inner}", address, "tar", member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ValueError(
            f"{address} cannot be listed ({error}); it must be a tar file that is not compressed"
        ) from error


def _list_table(fs: Any, file: str, name: str) -> Iterator[Item]:
    """The images of a table: paths in a column `path`, or bytes in a column `bytes` or `image`."""
    import pyarrow.parquet as pq

    address = fs.unstrip_protocol(file)
    with fs.open(file, "rb") as stream:
        table = pq.ParquetFile(stream)
        columns = table.schema_arrow.names
        content = bytes_column(columns)
        named = [column for column in ("id", "path") if column in columns]
        if content is None and "path" not in columns:
            raise ValueError(f"{address} has no column path, bytes or image, but {', '.join(columns)}; rename one")
        for group in range(table.num_row_groups):
            rows = table.read_row_group(group, columns=named or [columns[0]]).to_pylist()
            for row, values in enumerate(rows):
                given = values.get("id", values.get("path"))
                if content is None:
                    path = str(values["path"])
                    yield Item(_id_of(str(given)), _join(address.rpartition("/")[0], path))
                else:
                    id_ = f"{name}/{group:05d}-{row:06d}" if given is None else _id_of(str(given))
                    yield Item(id_, address, "parquet", group, row)


def _list_lines(fs: Any, file: str) -> Iterator[Item]:
    folder = fs.unstrip_protocol(file).rpartition("/")[0]
    with fs.open(file, "r", encoding="utf-8") as lines:
        for line in lines:
            path = line.strip()
            if path:
                yield Item(_id_of(path), _join(folder, path))


def _id_of(path: str) -> str:
    """A path or address as a name: without the protocol and what leads to the top."""
    return path.partition("://")[2].lstrip("/") if "://" in path else path.lstrip("/").removeprefix("./")


def _join(folder: str, path: str) -> str:
    """The address of a path that may be relative to a folder."""
    return path if "://" in path or path.startswith("/") else f"{folder}/{path.removeprefix('./')}"


def _path_on(fs: Any, address: str) -> str | None:
    """The path of an address if it is on this file system."""
    if not address:
        return None
    other, path = split_address(address)
    return path.rstrip("/") if type(other) is type(fs) else None
