"""A result as a table to read."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from fcclip.formats.records import instance_records
from fcclip.formats.result import RANDOM_WEIGHTS_WARNING, Result, Segment


def result_table(result: Result) -> str:
    """A text table of what `draw` shows; see `Segmentation.table`."""
    pixels = result.size[0] * result.size[1]
    if result.panoptic is not None:
        text = _segment_table(result.segments, pixels)
    elif result.semantic is not None:
        rows = [
            [result.name_of(category), _kind(category in result.vocabulary.thing_ids), _share(area, pixels)]
            for category, area in result.semantic_areas()
        ]
        text = _align({"name": "left", "kind": "left", "area": "right"}, rows)
    else:
        text = _instance_table(instance_records(result), pixels)
    return f"{RANDOM_WEIGHTS_WARNING}\n{text}" if result.random_weights else text


def _segment_table(segments: tuple[Segment, ...], pixels: int) -> str:
    columns = {"id": "right", "name": "left", "kind": "left", "score": "right", "area": "right", "box": "left"}
    rows = [
        [
            str(segment.id),
            segment.name,
            _kind(segment.is_thing),
            f"{segment.score:.3f}",
            _share(segment.area, pixels),
            " ".join(map(str, segment.box)),
        ]
        for segment in sorted(segments, key=lambda segment: -segment.area)
    ]
    return _align(columns, rows)


def _instance_table(records: list[dict[str, Any]], pixels: int) -> str:
    columns = {"name": "left", "score": "right", "area": "right", "box": "left"}
    rows = [
        [
            record["name"],
            f"{record['score']:.3f}",
            _share(record["area"], pixels),
            " ".join(f"{coordinate:.0f}" for coordinate in record["box"]),
        ]
        for record in sorted(records, key=lambda record: -record["score"])
    ]
    return _align(columns, rows)


def _align(columns: dict[str, str], rows: list[list[str]]) -> str:
    """Lay out a table; `columns` maps a heading to "left" or "right"."""
    if not rows:
        return "nothing found"
    return tabulate(rows, list(columns), tablefmt="simple", colalign=list(columns.values()), disable_numparse=True)


def _kind(is_thing: bool) -> str:
    return "thing" if is_thing else "stuff"


def _share(area: int, pixels: int) -> str:
    return f"{100 * area / pixels:.1f}%"
