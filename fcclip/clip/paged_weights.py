"""Weights that are seldom read, in a file that is mapped into memory: they take up memory only while they are used."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

ALIGNMENT = 64  # bytes, as PyTorch aligns its own memory


class PagedWeights:
    """Keeps parameters in an unnamed file, whose pages the operating system reads when they are used.

    The parameters stay what they were: CPU tensors, bit for bit the same, to be read, saved, copied and loaded into.
    What is written to them is written to the file, and so survives that their memory is given back. A copy of a model
    has its weights in memory, and a copy of this object holds nothing.
    """

    def __init__(self) -> None:
        self._mapping: mmap.mmap | None = None
        self._views: list[Tensor] = []

    def __reduce__(self) -> tuple[type[PagedWeights], tuple[()]]:
        return PagedWeights, ()

    @torch.inference_mode(False)
    def hold(self, parameters: Sequence[nn.Parameter], folder: Path) -> None:
        """Move parameters to a file, unless they are there already, and give back the memory of its pages.

        Args:
            parameters: on the CPU, none of them empty.
            folder: where the file is, until the parameters are dropped or moved; made if it is missing.

        Raises:
            OSError: there is no room or no right to write; the parameters stay as they are.
        """
        if self._mapping is None or not self._holds(parameters):
            self._mapping, self._views = _map_copy(parameters, folder)
            for parameter, view in zip(parameters, self._views, strict=True):
                parameter.data = view
        if hasattr(mmap, "MADV_DONTNEED"):  # elsewhere the system decides alone when it needs the memory
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def _holds(self, parameters: Sequence[nn.Parameter]) -> bool:
        """Whether these are the parameters in the file, rather than some that were moved or replaced since."""
        return [p.data_ptr() for p in parameters] == [view.data_ptr() for view in self._views]


def _map_copy(parameters: Sequence[nn.Parameter], folder: Path) -> tuple[mmap.mmap, list[Tensor]]:
    """A mapped file with a copy of the parameters, and tensors in it that equal them."""
    folder.mkdir(parents=True, exist_ok=True)
    offsets = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for parameter in parameters:
            file.seek(-(-file.tell() // ALIGNMENT) * ALIGNMENT)
            offsets.append(file.tell())
            file.write(parameter.detach().contiguous().view(-1).view(torch.uint8).numpy().data)
        file.flush()
        # Shared: pages of a private mapping that were written to would be lost when their memory is given back.
        mapping = mmap.mmap(file.fileno(), 0)
    views = [
        torch.frombuffer(mapping, dtype=parameter.dtype, count=parameter.numel(), offset=offset).view(parameter.shape)
        for parameter, offset in zip(parameters, offsets, strict=True)
    ]
    return mapping, views
