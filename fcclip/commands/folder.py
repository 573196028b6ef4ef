"""Many images into one folder: what is done already, a table of all that was found, and a sheet of all pictures."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image
from tabulate import tabulate

from fcclip.evaluation.journal import Journal, JournalWriter
from fcclip.files.atomic import write_text
from fcclip.files.images import UnreadableImageError, read_image
from fcclip.formats.picture import save_picture
from fcclip.formats.result import Result

SUMMARY = "summary"  # folder in the output
THUMBNAIL = 160  # pixels, the longer side
COLUMNS = 10
MOST_THUMBNAILS = 200
MOST_ROWS = 30  # of the table that is printed; the file has all

Record = dict[str, Any]


def identity_of(*settings: str) -> str:
    """A digest of all that the pictures depend on besides the images."""
    return hashlib.sha256("\0".join(settings).encode()).hexdigest()


@dataclass(frozen=True)
class Place:
    """Where an image comes from and where its picture goes.

    Attributes:
        image: the file.
        name: its path in the output, with the sub-folders of the input.
        picture: the file of its picture.
    """

    image: Path
    name: str
    picture: Path


class FolderRun:
    """Images that are segmented into one folder, perhaps in several runs.

    Args:
        output: the folder; `summary/` in it is the run's own.
        identity: see `identity_of`; what was done under another one is done again.
        resume: go on with what an earlier run has done.
    """

    def __init__(self, output: Path, identity: str, resume: bool) -> None:
        self.folder = output / SUMMARY
        journal = Journal(self.folder / "done", identity)
        if not resume:
            journal.remove()
        self._records: dict[str, Record] = {name: entry["result"] for name, entry in journal.read().items()}  # earlier
        self._shares: dict[str, Record] = {name: record["shares"] for name, record in self._records.items()}
        self._writer: JournalWriter = journal.open(0)
        self._lock = Lock()

    def is_done(self, place: Place) -> bool:
        """Whether the picture of an image is whole, and the image has not changed since."""
        record = self._records.get(place.name)
        return record is not None and record["stamp"] == _stamp(place.image) and place.picture.is_file()

    def record(self, place: Place) -> Record:
        """What an earlier run has found in an image that is done, as for JSON."""
        return dict(self._records[place.name]["found"])

    def add(self, place: Place, result: Result, found: Record) -> None:
        """Note that the picture of an image is written; any thread may do so."""
        shares = _shares(result)
        record = {"stamp": _stamp(place.image), "found": found, "shares": shares}
        with self._lock:
            self._shares[place.name] = shares  # the rest is on disk; in memory it would grow with the folder
            self._writer.append(place.name, {"result": record})

    def finish(self, places: Mapping[str, Place]) -> str:
        """Write the table and the sheet of all images that are done; returns the table for people to read."""
        self._writer.__exit__(None, None, None)
        done = {name: self._shares[name] for name in places if name in self._shares}
        if not done:
            return ""
        rows = _table(done)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([["class", "images", "mean_share_there"], *([n, c, f"{s:.6f}"] for n, c, s in rows)])
        write_text(self.folder / "summary.csv", text.getvalue())
        save_picture(self.folder / "contact_sheet.jpg", contact_sheet([places[name].picture for name in done]))
        if not rows:
            return f"nothing found in {len(done)} {'image' if len(done) == 1 else 'images'}"
        shown = [[name, count, f"{100 * share:.1f} %"] for name, count, share in rows[:MOST_ROWS]]
        return tabulate(shown, headers=["class", "images", "area there"], disable_numparse=True)


def contact_sheet(pictures: list[Path]) -> np.ndarray:
    """Small versions of the pictures in their order, of very many every so-manieth: (H, W, 3) uint8.

    A picture that cannot be read leaves its place grey.
    """
    chosen = pictures[:: -(-len(pictures) // MOST_THUMBNAILS)]
    columns = min(COLUMNS, len(chosen))
    side = THUMBNAIL + 4
    sheet = np.full((side * -(-len(chosen) // columns), side * columns, 3), 64, np.uint8)
    for place, path in enumerate(chosen):
        try:
            picture = Image.fromarray(read_image(path))
        except (OSError, UnreadableImageError):
            continue
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        top = place // columns * side + (side - picture.height) // 2
        left = place % columns * side + (side - picture.width) // 2
        sheet[top : top + picture.height, left : left + picture.width] = np.asarray(picture)
    return sheet


def _table(done: Mapping[str, Mapping[str, float]]) -> list[tuple[str, int, float]]:
    """Class, images with it, and its mean share of their area; the most frequent first."""
    shares: dict[str, list[float]] = {}
    for found in done.values():
        for name, share in found.items():
            shares.setdefault(name, []).append(share)
    rows = [(name, len(values), mean(values)) for name, values in shares.items()]
    return sorted(rows, key=lambda row: (-row[1], -row[2], row[0]))


def _shares(result: Result) -> dict[str, float]:
    """The share of the image that each class has in what is drawn."""
    height, width = result.size
    areas: dict[str, int] = {}
    if result.panoptic is not None:
        for segment in result.segments:
            areas[segment.name] = areas.get(segment.name, 0) + segment.area
    elif result.semantic is not None:
        areas = {result.name_of(category): area for category, area in result.semantic_areas()}
    elif result.instances is not None:
        for category, mask in zip(result.instances.category_ids.tolist(), result.instances.masks, strict=True):
            name = result.name_of(category)
            areas[name] = areas.get(name, 0) + int(mask.sum())
    return {name: area / (height * width) for name, area in areas.items()}


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
