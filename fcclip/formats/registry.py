"""The writer of a format by its name; each is imported when it is first asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from fcclip.formats.names import FORMATS
from fcclip.formats.writer import DEFAULT_OPTIONS, Writer, WriterOptions


def open_format(name: str, folder: str | Path, options: WriterOptions = DEFAULT_OPTIONS) -> Writer:
    """The writer of a format.

    Raises:
        ValueError: there is no format of that name.

    Examples:
        >>> from fcclip.formats.writer import WriterOptions
        >>> type(open_format("yolo", "dataset", WriterOptions(tolerance=0.5))).__name__
        'Yolo'
        >>> list(FORMATS)[:3]
        ['coco-panoptic', 'coco-instances', 'coco-polygons']
    """
    if name not in FORMATS:
        raise ValueError(f'there is no format "{name}"; choose from {", ".join(FORMATS)}')
    module, _, writer = FORMATS[name].partition(".")
    kind: type[Writer] = getattr(importlib.import_module(f"fcclip.formats.{module}"), writer)
    return kind(folder, options)
