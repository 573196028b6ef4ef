"""Outlines of masks: exact along the edges of pixels, simplified where asked, holes and islands kept.

Coordinates are pixels; pixel (x, y) covers the square from (x, y) to (x + 1, y + 1), so that a mask of the whole
picture has the corners (0, 0) and (width, height).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

SMALL_RING_SHARE = 0.05  # a ring is simplified by at most this share of the side of a square of its area


@dataclass(frozen=True, eq=False)
class Polygon:
    """One connected part of a mask.

    Attributes:
        outer: (N, 2) x and y of the corners, clockwise on the screen; the last is joined to the first.
        holes: rings like `outer`, counter-clockwise.
    """

    outer: np.ndarray
    holes: tuple[np.ndarray, ...] = ()


def mask_polygons(mask: np.ndarray, tolerance: float = 0.0, offset: tuple[int, int] = (0, 0)) -> list[Polygon]:
    """Outline a mask.

    Args:
        mask: (H, W) bool.
        tolerance: pixels by which an outline may deviate, to have fewer corners; 0 is exact. Parts and holes smaller
            than a square of twice that are left out, but for the largest part; small ones are simplified less.
        offset: (x, y) of the mask's upper left corner in the picture.

    Returns:
        A polygon per part that is connected by edges of pixels; exact ones are valid in the sense of OGC.

        >>> [polygon.outer.tolist() for polygon in mask_polygons(np.ones((2, 3), bool))]
        [[[0, 0], [3, 0], [3, 2], [0, 2]]]
    """
    _, parts = cv2.connectedComponents(np.ascontiguousarray(mask, np.uint8), connectivity=4)
    outers: dict[int, np.ndarray] = {}
    holes: dict[int, list[np.ndarray]] = {}
    rings = _trace_rings(mask)
    areas = [_signed_area(ring) for ring in rings]
    least = min((2 * tolerance) ** 2, max(areas, default=0.0))
    for ring, area in zip(rings, areas, strict=True):
        if abs(area) < least:
            continue
        part = int(parts[_pixel_inside(ring)])
        simple = _simplify(ring, area, tolerance) + np.array(offset)
        if area > 0:
            outers[part] = simple
        else:
            holes.setdefault(part, []).append(simple)
    return [Polygon(outer, tuple(holes.get(part, ()))) for part, outer in sorted(outers.items())]


def join_rings(rings: Sequence[np.ndarray]) -> np.ndarray:
    """One ring for formats that have no holes or parts: rings are joined by seams that are walked there and back.

    The even-odd rule, by which programs fill polygons, gives the area of all rings together; a seam has none.

    Args:
        rings: (N, 2) arrays; the first stays the beginning.

    Returns:
        (M, 2) corners.
    """
    joined = rings[0]
    rest = list(rings[1:])
    while rest:
        tree = cKDTree(joined)
        found = [tree.query(ring) for ring in rest]
        gaps, corners = [np.asarray(gap) for gap, _ in found], [np.asarray(corner) for _, corner in found]
        nearest = int(np.argmin([gap.min() for gap in gaps]))
        ring, start = rest.pop(nearest), int(gaps[nearest].argmin())
        seam = int(corners[nearest][start])
        loop = np.roll(ring, -start, axis=0)
        joined = np.concatenate([joined[: seam + 1], loop, loop[:1], joined[seam:]])
    return joined


def polygon_ring(polygon: Polygon) -> np.ndarray:
    """A polygon as one ring; see `join_rings`."""
    return join_rings([polygon.outer, *polygon.holes])


def _trace_rings(mask: np.ndarray) -> list[np.ndarray]:
    """Closed walks along the edges of pixels, the mask on the right hand; corners only, each once per ring."""
    grid = np.pad(np.asarray(mask, np.int8), 1)
    # Down a column of corners the walk goes along an edge where the mask changes; the sign is the direction.
    across = np.diff(grid, axis=0)[:, 1:-1]  # (H + 1, W): +1 enters the mask: walk east along its top
    along = -np.diff(grid, axis=1)[1:-1]  # (H, W + 1): +1 leaves the mask: walk south along its right side
    horizontal = _runs(across)
    vertical = _runs(along.T)[:, [1, 0, 3, 2]]
    starts = np.concatenate([horizontal, vertical])[:, :2]
    ends = np.concatenate([horizontal, vertical])[:, 2:]
    following = _link(starts, ends, len(horizontal), mask.shape[1] + 1)
    rings: list[np.ndarray] = []
    corners = starts.tolist()
    done = [False] * len(corners)
    for first in range(len(corners)):
        if done[first]:
            continue
        ring, current = [], first
        while not done[current]:
            done[current] = True
            ring.append(tuple(corners[current]))
            current = following[current]
        rings += [np.array(part, np.int32) for part in _split(ring)]
    return rings


def _runs(changes: np.ndarray) -> np.ndarray:
    """Straight runs along the rows of -1, 0 and 1: (N, 4) of start x, start y, end x, end y, in walking direction."""
    padded = np.pad(changes, ((0, 0), (1, 1)))
    begins = (padded[:, 1:] != padded[:, :-1]) & (padded[:, 1:] != 0)
    stops = (padded[:, 1:] != padded[:, :-1]) & (padded[:, :-1] != 0)
    rows, left = np.nonzero(begins)
    _, right = np.nonzero(stops)
    forward = changes[rows, left] > 0
    start, end = np.where(forward, left, right), np.where(forward, right, left)
    return np.stack([start, rows, end, rows], axis=1)


def _link(starts: np.ndarray, ends: np.ndarray, horizontal: int, width: int) -> list[int]:
    """The run that follows each run. Where two leave a corner, the right turn is taken, which stays at its pixel."""
    step = np.sign(ends - starts)
    keys = starts[:, 1].astype(np.int64) * (width + 1) + starts[:, 0]
    targets = ends[:, 1].astype(np.int64) * (width + 1) + ends[:, 0]
    following: list[int] = []
    by_corner: dict[tuple[int, bool], list[int]] = {}
    for index, key in enumerate(keys.tolist()):
        by_corner.setdefault((key, index < horizontal), []).append(index)
    steps = step.tolist()
    for index, target in enumerate(targets.tolist()):
        leaving = by_corner[target, index >= horizontal]
        right = [-steps[index][1], steps[index][0]]  # y points down
        following.append(next((run for run in leaving if steps[run] == right), leaving[0]))
    return following


def _split(ring: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Split a ring where it touches itself, into rings that do not."""
    if len(set(ring)) == len(ring):
        return [ring]
    rings = []
    walk: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for corner in ring:
        if corner in place:
            start = place[corner]
            rings.append(walk[start:])
            for gone in walk[start + 1 :]:
                del place[gone]
            del walk[start + 1 :]
        else:
            place[corner] = len(walk)
            walk.append(corner)
    return [*rings, walk]


def _pixel_inside(ring: np.ndarray) -> tuple[int, int]:
    """(row, column) of a mask's pixel at the right hand of the first step of a ring."""
    (x0, y0), (x1, y1) = ring[0].tolist(), ring[1].tolist()
    if y0 == y1:
        return (y0, x0) if x1 > x0 else (y0 - 1, x0 - 1)
    return (y0, x0 - 1) if y1 > y0 else (y0 - 1, x0)


def _signed_area(ring: np.ndarray) -> float:
    """Pixels within a ring: positive if it runs clockwise on the screen."""
    x, y = ring.T.astype(np.float64)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _simplify(ring: np.ndarray, area: float, tolerance: float) -> np.ndarray:
    """Fewer corners, within `tolerance` pixels (Douglas-Peucker)."""
    bound = min(tolerance, SMALL_RING_SHARE * abs(area) ** 0.5)
    if bound <= 0:
        return ring
    simple = cv2.approxPolyDP(ring.reshape(-1, 1, 2), bound, closed=True).reshape(-1, 2)
    return simple if len(simple) >= 3 else ring
