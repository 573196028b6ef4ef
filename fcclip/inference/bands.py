"""Maps in bands of rows, so that no more than a chunk of many layers is held at a time; any array library."""

from __future__ import annotations

from collections.abc import Iterator

Size = tuple[int, int]
FLOAT_BYTES = 4


def bands(size: Size, layers: int, chunk_bytes: int) -> Iterator[tuple[int, int]]:
    """Split the rows of maps into bands of which `layers` float32 maps take at most `chunk_bytes`.

    A band has at least one row, even if that takes more. No band at all where there are no layers.
    """
    if not layers:
        return
    height, width = size
    rows = max(1, chunk_bytes // (FLOAT_BYTES * width * layers))
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """Where the windows that slide along an axis begin; the last one ends with the axis."""
    count = max(size - window + stride - 1, 0) // stride + 1
    return [max(min(index * stride, size - window), 0) for index in range(count)]
