"""What is said of names that CLIP cannot take, or does not know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LISTED = 5  # names


def refuse_overlong(lengths: Iterable[tuple[str, int]], context: int) -> None:
    """Refuse a name whose prompt does not fit.

    A cut prompt ends at the last position; one that just fits there is refused as well.

    Args:
        lengths: names, each with the position at which its longest prompt ends.
        context: tokens that CLIP reads.

    Raises:
        ValueError: one is too long.
    """
    for name, length in lengths:
        if length >= context - 1:
            raise ValueError(f'the name "{name[:60]}" is too long for CLIP, which reads {context} tokens; shorten it')


def unknown_words(names: Sequence[str]) -> str:
    """The warning of names with a word that the model was never trained on."""
    listed = ", ".join(f'"{name}"' for name in names[:LISTED])
    more = f" and {len(names) - LISTED} more names" if len(names) > LISTED else ""
    return f"the model was never trained on the words of {listed}{more}; what it finds for them means nothing"
