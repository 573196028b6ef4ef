"""One image of a source: what it is called, where its bytes are, and how they are read."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from threading import Lock
from typing import Any, Literal

import numpy as np

from fcclip.batch.store import split_address
from fcclip.files.images import decode_image

Kind = Literal["file", "tar", "parquet"]
OPEN_GROUPS = 2  # groups of rows that are kept while their images are read


@dataclass(frozen=True)
class Item:
    """An image of a source.

    Attributes:
        id: its name, the same in every run: a path below the source.
        path: the address of the file that it is in.
        kind: what that file is: the image itself, a tar file or a table.
        start: of a tar file the first byte, of a table the group of rows.
        length: of a tar file the number of bytes, of a table the row in its group.
    """

    id: str
    path: str
    kind: Kind = "file"
    start: int = 0
    length: int = 0

    @property
    def stem(self) -> str:
        """The name that its results have: two images must not share it."""
        folder, slash, name = self.id.rpartition("/")
        return folder + slash + (name.rpartition(".")[0] or name)


class ItemReader:
    """Reads images; may be used by several threads."""

    def __init__(self) -> None:
        self._groups: OrderedDict[tuple[str, int], Any] = OrderedDict()
        self._lock = Lock()

    def image(self, item: Item) -> np.ndarray:
        """(H, W, 3) uint8 RGB.

        Raises:
            FileNotFoundError, UnreadableImageError: there is no such file, or it is no image.
        """
        return decode_image(BytesIO(self.content(item)), item.id)

    def content(self, item: Item) -> bytes:
        """The bytes of the image file."""
        if item.kind == "parquet":
            return self._cell(item)
        fs, path = split_address(item.path)
        if item.kind == "tar":
            return bytes(fs.cat_file(path, start=item.start, end=item.start + item.length))
        try:
            return bytes(fs.cat_file(path))
        except FileNotFoundError:
            raise FileNotFoundError(f"{item.path} does not exist") from None

    def _cell(self, item: Item) -> bytes:
        key = (item.path, item.start)
        with self._lock:  # neighbours wait for the same group
            if key not in self._groups:
                self._groups[key] = _read_group(*key)
                while len(self._groups) > OPEN_GROUPS:
                    self._groups.popitem(last=False)
            cell = self._groups[key][item.length].as_py()
        value = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(value, bytes):
            raise ValueError(f"{item.id}: its row of {item.path} has no bytes")
        return value


def _read_group(path: str, group: int) -> Any:
    """The column of images in one group of rows."""
    import pyarrow.parquet as pq

    fs, inner = split_address(path)
    with fs.open(inner, "rb") as file:
        table = pq.ParquetFile(file)
        return table.read_row_group(group, columns=[bytes_column(table.schema_arrow.names)]).column(0)


def bytes_column(names: list[str]) -> str | None:
    """The column that holds images, of a table with these columns."""
    return next((name for name in ("bytes", "image") if name in names), None)
