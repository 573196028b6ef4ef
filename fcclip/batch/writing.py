"""Results of some images of a shard: written on this machine beside the network, then sent as a few whole files."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcclip.batch.items import Item
from fcclip.batch.parts import Part, Record, read_part
from fcclip.batch.store import Store
from fcclip.files.atomic import full_disk_told
from fcclip.files.background import Background
from fcclip.files.panoptic import write_panoptic_json, write_panoptic_png
from fcclip.files.scratch import make_scratch
from fcclip.formats.coco_panoptic import coco_categories, coco_panoptic_annotation, panoptic_map
from fcclip.formats.registry import open_format
from fcclip.formats.result import Result
from fcclip.formats.writer import Writer

PANOPTIC = "coco-panoptic"
SHARDS = "shards"


@dataclass(frozen=True)
class Output:
    """How results are written.

    Attributes:
        formats: names of formats.
        loose: PNGs of COCO panoptic are files of their own, and not in one tar file for each part.
    """

    formats: tuple[str, ...] = (PANOPTIC,)
    loose: bool = False


class PartWriter:
    """Collects results and the records of the index, then sends the results; close it at the end.

    Args:
        store: the target.
        output: what is written.
        worker: who writes, for the index.
    """

    def __init__(self, store: Store, output: Output, worker: str) -> None:
        self._store, self._output, self._worker = store, output, worker
        self._folder = make_scratch("part")
        self._writers: dict[str, Writer] = {
            name: open_format(name, self._folder / name) for name in output.formats if name != PANOPTIC
        }
        self._records: list[Record] = []
        self._annotations: dict[int, Record] = {}
        self._images: list[Record] = []
        self._categories: list[Record] = []
        self._background = Background(self._fail)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, item: Item, image_id: int, outcome: Result | Exception, seconds: float) -> None:
        """Take the result of an image, or why there is none."""
        record: Record = {"id": item.id, "path": item.path, "image_id": image_id, "seconds": seconds, "error": None}
        record |= {"height": None, "width": None, "segments": [], "shard": None, "worker": self._worker}
        number = len(self._records)
        if isinstance(outcome, Exception):
            self._fail_record(record, outcome)
        else:
            record["height"], record["width"] = outcome.size
            record["segments"] = segment_records(outcome)
            if not self._categories:
                self._categories = coco_categories(outcome)
            self._background.submit(str(number), lambda: self._write(item, image_id, outcome))
        self._records.append(record)

    def send(self, shard: str) -> list[Record]:
        """Send the results to the target, where what has the same name is replaced; nothing if all images failed.

        Args:
            shard: what the files are called, without a suffix.

        Returns:
            One record per image, in the order in which they came.
        """
        self._background.__exit__(None, None, None)
        succeeded = [record for record in self._records if record["error"] is None]
        for record in succeeded:
            record["shard"] = shard
        if not succeeded:
            return self._records
        if PANOPTIC in self._output.formats:
            self._send_panoptic(f"{SHARDS}/{shard}")
        for format_, writer in self._writers.items():
            writer.finish()
            self._send_tar(self._folder / format_, f"{SHARDS}/{shard}.{format_}.tar")
        return self._records

    def close(self) -> None:
        """Delete what is on this machine."""
        self._background.__exit__(None, None, None)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, item: Item, image_id: int, result: Result) -> None:
        if PANOPTIC in self._output.formats:
            png = f"{item.stem}.png"
            write_panoptic_png(self._folder / "panoptic" / png, panoptic_map(result))
            height, width = result.size
            self._annotations[image_id] = coco_panoptic_annotation(result, image_id, png)
            self._images.append({"id": image_id, "file_name": item.id, "height": height, "width": width})
        for writer in self._writers.values():
            writer.add(result, item.id)

    def _fail(self, number: str, error: Exception) -> None:
        """A result could not be written; a full disk and the like are no fault of an image."""
        if not isinstance(error, ValueError):
            raise error
        self._fail_record(self._records[int(number)], error)

    @staticmethod
    def _fail_record(record: Record, error: Exception) -> None:
        record.update(error=f"{type(error).__name__}: {' '.join(str(error).split())}", segments=[])

    def _send_panoptic(self, name: str) -> None:
        folder = self._folder / "panoptic"
        if self._output.loose:
            for path in sorted(folder.rglob("*.png")):
                self._store.put(f"panoptic/{path.relative_to(folder).as_posix()}", path)
        else:
            self._send_tar(folder, f"{name}.tar")
        json = self._folder / "panoptic.json"
        write_panoptic_json(json, self._annotations.values(), self._categories, self._images)
        self._store.put(f"{name}.json", json)

    def _send_tar(self, folder: Path, name: str) -> None:
        """Send the files of a folder as a tar file, which depends on nothing but them."""
        packed = self._folder / "packed.tar"
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        with full_disk_told(packed), tarfile.open(packed, "w", format=tarfile.GNU_FORMAT) as archive:
            for path in files:
                entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(entry, file)
        self._store.put(name, packed)


def remove_unlisted(store: Store, parts: Sequence[Part]) -> None:
    """Delete results that no record is of: their writer was killed before it wrote the records.

    Args:
        store: the target; nobody else writes there.
        parts: all that count.
    """
    names = store.names(SHARDS)
    wanted = {part.name for part in parts}
    again = {name.partition("-retry")[0] for name in names if "-retry" in name}
    for part in parts:
        if part.name in again:
            wanted |= {record["shard"] for record in read_part(store, part)}
    for name in names:
        if name.partition(".")[0] not in wanted:
            store.remove(f"{SHARDS}/{name}")


def segment_records(result: Result) -> list[dict[str, Any]]:
    """What was found in an image, for the index: panoptic segments, else instances, else the classes of the map."""
    if result.panoptic is not None:
        return [
            {
                "id": segment.id,
                "category_id": segment.category_id,
                "name": segment.name,
                "score": segment.score,
                "area": segment.area,
                "box": [round(value) for value in segment.box],
            }
            for segment in result.segments
        ]
    if result.instances is not None:
        rows: Sequence[Any] = list(
            zip(result.instances.category_ids.tolist(), result.instances.scores.tolist(), strict=True)
        )
        areas = result.instances.masks.sum(axis=(1, 2)).tolist()
        boxes = result.instances.boxes.round().astype(int).tolist()
        return [
            {"id": number, "category_id": id_, "name": result.name_of(id_), "score": score, "area": area, "box": box}
            for number, ((id_, score), area, box) in enumerate(zip(rows, areas, boxes, strict=True), start=1)
        ]
    return [
        {"id": None, "category_id": id_, "name": result.name_of(id_), "score": None, "area": area, "box": None}
        for id_, area in result.semantic_areas()
    ]
