"""A table of what was found and how large it is, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from fcclip.drawing.style import View
from fcclip.files.atomic import write_text
from fcclip.formats.masks import named_masks
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer

COLUMNS = ("image", "id", "name", "category_id", "kind", "score", "area", "share", "x0", "y0", "x1", "y1")


class Areas(Writer):
    """`areas.csv`: a row per object or region of all pictures."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._rows: list[list[Any]] = []

    def add(self, result: Result, image: str) -> list[Path]:
        self._rows += ([image, *row] for row in area_rows(result, self.options.view))
        return []

    def finish(self) -> list[Path]:
        path = self.folder / "areas.csv"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([COLUMNS, *self._rows])
        write_text(path, text.getvalue())
        return [path]


def area_rows(result: Result, view: View | None = None) -> list[list[Any]]:
    """The rows of one picture: `COLUMNS` without the first; areas in pixels, `share` of the picture, 0..1."""
    height, width = result.size
    return [
        [
            mask.id,
            mask.name,
            mask.category_id,
            "thing" if mask.is_thing else "stuff",
            "" if mask.score is None else f"{mask.score:.4f}",
            mask.area,
            f"{mask.area / (height * width):.6f}",
            *mask.box,
        ]
        for mask in named_masks(result, view)
    ]
