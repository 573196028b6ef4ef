"""What one process does with a shard: read ahead, segment, write; and leave out what is there already."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode

from fcclip.batch.items import Item, ItemReader
from fcclip.batch.parts import Part, Record, cover, list_parts, read_part, write_part
from fcclip.batch.plan import read_shard
from fcclip.batch.store import Store
from fcclip.batch.writing import SHARDS, Output, PartWriter
from fcclip.files.scratch import make_scratch, remove_abandoned
from fcclip.inference.batching import Failure
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.segmentation import Segmentation
from fcclip.segmenter import Segmenter

# Of one image; the others go on. Anything else, such as a broken GPU, ends the run: a million images are not to blame.
FAILURES = (OSError, ValueError, MemoryError, torch.cuda.OutOfMemoryError)


@dataclass(frozen=True)
class Settings:
    """Everything that a worker is told, besides its model.

    Attributes:
        target: address of the results.
        output: what is written.
        shard_size: see `Plan`.
        threshold: segments that score less are dropped.
        batch_size: the most images that go through the network together.
        readers: images that are read and decoded at a time.
        flush_seconds: a part is closed at the latest after this time, so that no more work than that can be lost.
        retry_failed: try again what has failed before, instead of what is missing.
    """

    target: str
    output: Output = field(default_factory=Output)
    shard_size: int = 1000
    threshold: float = 0.0
    batch_size: int = 1
    readers: int = 4
    flush_seconds: float = 300.0
    retry_failed: bool = False


@dataclass(frozen=True)
class ModelParcel:
    """A model on its way to other machines; text is encoded already, and weights are bytes.

    Attributes:
        cfg: YAML of the configuration.
        classes: the encoded vocabulary, pickled.
        weights: content of the file of weights, (N,) uint8, which Ray shares among the processes of a machine; None
            for random weights.
        suffix: of that file.
    """

    cfg: str
    classes: bytes
    weights: np.ndarray | None
    suffix: str = ".pth"

    @classmethod
    def pack(cls, cfg: CfgNode, classes: EncodedVocabulary) -> ModelParcel:
        """Wrap what a segmenter was built from."""
        weights = Path(cfg.MODEL.WEIGHTS) if cfg.MODEL.WEIGHTS else None
        content = None if weights is None else np.fromfile(weights, np.uint8)
        encoded = pickle.dumps(classes.to(torch.device("cpu")))
        return cls(cfg.dump(), encoded, content, weights.suffix if weights else "")

    def unpack(self, device: str) -> tuple[Segmenter, EncodedVocabulary]:
        """Build the segmenter; its weights lie on the disk of this machine only while they are loaded."""
        cfg = CfgNode.load_cfg(self.cfg)
        cfg.MODEL.DEVICE = device
        torch.manual_seed(0)  # random weights, if asked for, are the same everywhere
        folder = make_scratch("weights")
        try:
            if self.weights is not None:
                cfg.MODEL.WEIGHTS = str(folder / f"weights{self.suffix}")
                self.weights.tofile(cfg.MODEL.WEIGHTS)
            segmenter = Segmenter.from_cfg(cfg)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return segmenter, pickle.loads(self.classes).to(segmenter.model.device)  # noqa: S301 - of our own process


@dataclass
class Receipt:
    """What a worker tells of a part that is done.

    Attributes:
        worker: who.
        images, failed: how many there are in it, and how many of them failed.
        seconds: reading, network and writing, each as far as it kept the worker waiting.
        first_error: of the first image that failed.
    """

    worker: str
    images: int
    failed: int
    seconds: dict[str, float] = field(default_factory=dict)
    first_error: str = ""


class Worker:
    """Segments shards.

    Args:
        settings: what is to be done.
        segmenter: the model.
        classes: what is looked for.
        store: the target, if it is open already.
    """

    def __init__(
        self, settings: Settings, segmenter: Segmenter, classes: EncodedVocabulary, store: Store | None = None
    ) -> None:
        self._settings, self._segmenter, self._classes = settings, segmenter, classes
        self._store = store or Store(settings.target)
        self._reader = ItemReader()
        remove_abandoned()
        self.name = f"{socket.gethostname()}:{os.getpid()}"

    def work(self, shard: int) -> Iterator[Receipt]:
        """Do what is missing of a shard, or with `retry_failed` what has failed; one receipt per part.

        An interruption (Ctrl-C, SIGTERM) first writes the part that is begun.
        """
        items = read_shard(self._store, shard)
        kept, extra, missing = cover(list_parts(self._store, shard), len(items))
        for part in extra:
            self._store.remove(part.file)
        if self._settings.retry_failed:
            for part in kept:
                yield from self._retry(part, items)
        for first, last in missing if not self._settings.retry_failed else ():
            yield from self._segment(shard, items, first, last)

    def _retry(self, part: Part, items: list[Item]) -> Iterator[Receipt]:
        """Try again what has failed in a part: the results go to files of their own, and the records are replaced."""
        records = read_part(self._store, part)
        again = [place for place, record in enumerate(records) if record["error"] is not None]
        if not again:
            return
        clock = _Clock()
        tries = 1 + sum(name.endswith(".json") for name in self._store.names(SHARDS, f"{part.name}-retry"))
        with self._writer() as writer:
            for place, outcome in zip(
                again, self._outcomes([items[part.first + p] for p in again], clock), strict=True
            ):
                self._add(writer, part.shard, part.first + place, items, outcome, clock)
            for place, record in zip(again, writer.send(f"{part.name}-retry{tries}"), strict=True):
                records[place] = record
            yield self._write(part, records, clock, [records[place] for place in again])

    def _segment(self, shard: int, items: list[Item], first: int, last: int) -> Iterator[Receipt]:
        """Do a range of a shard, in one part or, where it takes long, in several."""
        clock = _Clock()
        outcomes = self._outcomes(items[first:last], clock)
        position = first
        while position < last:
            begin, deadline = position, time.monotonic() + self._settings.flush_seconds
            with self._writer() as writer:
                try:
                    for outcome in outcomes:
                        self._add(writer, shard, position, items, outcome, clock)
                        position += 1
                        if time.monotonic() > deadline:
                            break
                except KeyboardInterrupt:
                    if len(writer):
                        self._commit(writer, Part(shard, begin, begin + len(writer)), clock)
                    raise
                yield self._commit(writer, Part(shard, begin, position), clock)

    def _outcomes(self, items: Sequence[Item], clock: _Clock) -> Iterator[Segmentation | Exception]:
        """The result of each image, or why there is none."""
        errors: dict[int, Exception] = {}
        pictures = clock.timed(self._read_ahead(items), "reading")
        batch = self._settings.batch_size
        results = self._segmenter.stream(pictures, batch, self._classes, on_error=errors.__setitem__)
        for place, result in enumerate(results):
            if result is not None:
                yield result.above(self._settings.threshold)
            elif isinstance(errors[place], FAILURES):
                yield errors.pop(place)
            else:
                raise errors[place]

    def _writer(self) -> closing[PartWriter]:
        return closing(PartWriter(self._store, self._settings.output, self.name))

    def _add(
        self,
        writer: PartWriter,
        shard: int,
        position: int,
        items: list[Item],
        outcome: Segmentation | Exception,
        clock: _Clock,
    ) -> None:
        image_id = shard * self._settings.shard_size + position + 1
        with clock.measure("writing"):
            writer.add(items[position], image_id, outcome, clock.lap())

    def _commit(self, writer: PartWriter, part: Part, clock: _Clock) -> Receipt:
        with clock.measure("writing"):
            records = writer.send(part.name)
        return self._write(part, records, clock, records)

    def _write(self, part: Part, records: list[Record], clock: _Clock, new: list[Record]) -> Receipt:
        """Write the records of a part; the receipt is of those that are new."""
        seconds = clock.take()
        write_part(self._store, part, records, seconds)
        errors = [f"{record['id']}: {record['error']}" for record in new if record["error"] is not None]
        return Receipt(self.name, len(new), len(errors), seconds, errors[0] if errors else "")

    def _read_ahead(self, items: Sequence[Item]) -> Iterator[np.ndarray | Failure]:
        """The pictures in their order; a bounded number of them is read while others are segmented."""

        def read(item: Item) -> np.ndarray | Failure:
            try:
                return self._reader.image(item)
            except Exception as error:  # noqa: BLE001 - its kind decides later whether the others go on
                return Failure(error)

        readers = self._settings.readers
        with ThreadPoolExecutor(readers) as pool:
            waiting: deque[Future[np.ndarray | Failure]] = deque()
            try:
                for item in items:
                    waiting.append(pool.submit(read, item))
                    if len(waiting) > 2 * readers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class _Clock:
    """Where the time goes: what was waited for, and in between the network."""

    def __init__(self) -> None:
        self._start = self._lap = time.perf_counter()
        self._spent = {"reading": 0.0, "writing": 0.0}

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._lap = self._lap, time.perf_counter()
        return self._lap - before

    def timed(self, values: Iterator[Any], name: str) -> Iterator[Any]:
        """The values; the time until each comes counts under the name."""
        while True:
            with self.measure(name):
                value = next(values, _END)
            if value is _END:
                return
            yield value

    def measure(self, name: str) -> _Measurement:
        """A context whose time counts under the name."""
        return _Measurement(self._spent, name)

    def take(self) -> dict[str, float]:
        """Seconds of each kind since the last call."""
        now = time.perf_counter()
        spent = {name: round(seconds, 4) for name, seconds in self._spent.items()}
        spent["network"] = round(max(0.0, now - self._start - sum(spent.values())), 4)
        self._start = now
        self._spent.update(dict.fromkeys(self._spent, 0.0))
        return spent


class _Measurement:
    def __init__(self, spent: dict[str, float], name: str) -> None:
        self._spent, self._name = spent, name

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._spent[self._name] += time.perf_counter() - self._start


_END = object()
