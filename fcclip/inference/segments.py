"""From queries that won pixels to panoptic segments; counts in, plain data out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class PanopticSegment:
    """A segment of the panoptic map: its value there, class, kind, and its best query with that one's score."""

    id: int
    category_id: int
    is_thing: bool
    score: float
    query: int

    def as_info(self) -> dict[str, int | bool]:
        """The entry that Detectron2's evaluators and visualisers expect."""
        return {"id": self.id, "isthing": self.is_thing, "category_id": self.category_id}


def merge_queries(
    areas: Sequence[tuple[int, int, int]],
    found: Sequence[tuple[int, float, int]],
    thing_ids: Collection[int],
    overlap_threshold: float,
) -> tuple[list[PanopticSegment], list[int]]:
    """Make segments of the queries that hold enough of their own mask; stuff queries of one class become one segment.

    Args:
        areas: per query the pixels that it won, those of them that lie in its mask, and those of its mask.
        found: per query its class, its score and its number.
        thing_ids: classes of which every query is a segment of its own.
        overlap_threshold: share of its own mask that a query must win.

    Returns:
        The segments in the order of their ids, and the id of each query's segment (0: none).
    """
    segments: list[PanopticSegment] = []
    stuff: dict[int, int] = {}  # class -> index of its segment
    segment_of_query = [0] * len(areas)
    for place, ((won, seen, mask), (label, score, query)) in enumerate(zip(areas, found, strict=True)):
        if not (won and mask and seen) or won / mask < overlap_threshold:
            continue
        is_thing = label in thing_ids
        if not is_thing and label in stuff:
            earlier = segments[stuff[label]]
            if score > earlier.score:
                segments[stuff[label]] = replace(earlier, score=score, query=query)
            segment_of_query[place] = earlier.id
            continue
        if not is_thing:
            stuff[label] = len(segments)
        segments.append(PanopticSegment(len(segments) + 1, label, is_thing, score, query))
        segment_of_query[place] = len(segments)
    return segments, segment_of_query
