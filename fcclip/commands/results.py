"""What the commands that segment do with a result, and what they have to tell in the end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fcclip.commands.folder import identity_of
from fcclip.drawing.window import Window
from fcclip.files.atomic import OutputError, write_json
from fcclip.formats.writer import Writer
from fcclip.inference.batching import OnError
from fcclip.segmentation import Segmentation
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Vocabulary

FAILURES = (OSError, ValueError, MemoryError, torch.cuda.OutOfMemoryError)  # of one image; the others go on


@dataclass
class Report:
    """What a run has to tell at its end.

    Attributes:
        keep_results: collect one record per image or frame, for JSON.
        writers: write every result for other programs.
        results: those records.
        problems: one sentence for everything that was skipped.
        added: there was a result.
    """

    keep_results: bool
    writers: Sequence[Writer] = ()
    results: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    added: bool = False

    def add(self, result: Segmentation, file: str, frame: int) -> dict[str, Any]:
        """Note what was found in a frame (from 1) of a video, and write it for other programs; ready for JSON."""
        self.export(result, f"{Path(file).stem}/{frame:06d}.jpg")
        return self.record(result, file, frame)

    def record(self, result: Segmentation, file: str, frame: int | None = None) -> dict[str, Any]:
        """What was found, ready for JSON, where it is kept if it is to be written."""
        where = {"file": file} if frame is None else {"file": file, "frame": frame}
        found = {**where, **result.to_dict()}
        if self.keep_results:
            self.results.append(found)
        return found

    def export(self, result: Segmentation, name: str) -> None:
        """Write a result for other programs; `name` is the picture's."""
        for writer in self.writers:
            writer.add(result, name)
        self.added = True

    def add_records(self, records: Iterable[dict[str, Any]]) -> None:
        """Note what an earlier run has found."""
        if self.keep_results:
            self.results += records

    def sort_records(self, files: Sequence[str]) -> None:
        """Put records into the order of the files."""
        places = {file: place for place, file in enumerate(files)}
        self.results.sort(key=lambda record: places[record["file"]])

    def finish_formats(self) -> None:
        """Write the files that cover all results, and tell where they are; none without a result."""
        for writer in self.writers if self.added else ():
            writer.finish()
            tqdm.write(f"{writer.folder.name}: {writer.folder}")

    def skip(self, problem: str) -> None:
        self.problems.append(problem)
        tqdm.write(f"skipped: {problem}", file=sys.stderr)

    def skip_image(self, name: str, error: Exception) -> None:
        """Note that an image failed; what no image can be blamed for, as a full disk, is raised."""
        if not isinstance(error, FAILURES) or isinstance(error, OutputError):
            raise error
        self.skip(str(error) if name in str(error) else f"{name}: {error}")

    def write(self, path: Path, vocabulary: Vocabulary) -> None:
        classes = [{"names": list(category.names), "is_thing": category.is_thing} for category in vocabulary.categories]
        write_json(path, {"vocabulary": classes, "results": self.results, "skipped": self.problems})


@dataclass
class Demo:
    """A segmenter, and what is done with every result; `settings` are all that the results depend on, by name."""

    segmenter: Segmenter
    threshold: float
    report: Report
    window: Window | None
    batch_size: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """A digest of the settings, which tells runs apart whose results may differ."""
        return identity_of(*self.settings.values())

    def stream(self, images: Iterable[Path | np.ndarray], on_error: OnError) -> Iterator[Segmentation | None]:
        """Results of the images, in their order; see `Segmenter.stream`."""
        for result in self.segmenter.stream(images, self.batch_size, on_error=on_error):
            yield None if result is None else result.above(self.threshold)
