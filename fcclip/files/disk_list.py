"""A list that is kept on the disk."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import overload


class DiskList(Sequence[bytes]):
    """Strings of bytes in a temporary file, which is gone when the list is; in memory is only where each one lies."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._ends = [0]

    def append(self, data: bytes) -> None:
        """Add one at the end."""
        self._file.seek(self._ends[-1])
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        self._file.seek(self._ends[place])
        return self._file.read(self._ends[place + 1] - self._ends[place])
