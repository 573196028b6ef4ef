"""Results as people and programs read them: a table on the screen, results.json, results.md and per_class.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from fcclip.evaluation.base import ImageEvaluator, Results
from fcclip.evaluation.class_names import ClassNames
from fcclip.files.atomic import write_json, write_text

TITLES = {
    "panoptic_seg": "Panoptic", "sem_seg": "Semantic", "segm": "Instances (masks)", "bbox": "Instances (boxes)",
    "video_panoptic": "Video, panoptic", "video_semantic": "Video, semantic", "video_instance": "Video, instances",
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The outcome of one evaluation.

    Attributes:
        dataset: its name.
        averages: task -> metric -> value, 0 to 100.
        per_class: class name -> "task.metric" -> value, 0 to 100.
        conventions: metric -> how it is defined where usage differs.
        images: number of images.
        seconds: `pure`, `total` and `first` seconds per image (see `Stopwatch`), mean over processes; {} if all images
            had been finished by an earlier run.
        processes: number of processes.
        digest: of everything the numbers depend on.
        confusion: [predicted, true] pixels with its class names; None without a semantic evaluation.
        run: which weights, configuration, vocabulary and versions these numbers are of, see `describe_run`.
        names: which class names the model was asked for; None if it does not say.
    """

    dataset: str
    averages: Results
    per_class: dict[str, dict[str, float]]
    conventions: dict[str, str]
    images: int
    seconds: dict[str, float]
    processes: int
    digest: str
    confusion: tuple[np.ndarray, Sequence[str]] | None = None
    run: dict[str, Any] = field(default_factory=dict)
    names: ClassNames | None = None

    @classmethod
    def of(
        cls,
        dataset: str,
        results: Results,
        evaluators: Sequence[ImageEvaluator],
        images: int,
        seconds: Sequence[Mapping[str, float]],
        digest: str,
        run: dict[str, Any] | None = None,
    ) -> Report:
        """Make a report of results under Detectron2's keys, where "METRIC-NAME" is the value of one class."""
        averages: Results = {}
        per_class: dict[str, dict[str, float]] = {}
        for task, values in results.items():
            averages[task] = {key: value for key, value in values.items() if "-" not in key}
            for key, value in values.items():
                metric, separator, name = key.partition("-")
                if separator:
                    per_class.setdefault(name, {})[f"{task}.{metric}"] = value
        conventions = {metric: text for evaluator in evaluators for metric, text in evaluator.conventions.items()}
        timed = [process for process in seconds if process]
        means = {key: sum(process[key] for process in timed) / len(timed) for key in (timed[0] if timed else ())}
        confusion = next((c for c in (evaluator.confusion_matrix() for evaluator in evaluators) if c), None)
        return cls(dataset, averages, per_class, conventions, images, means, len(seconds), digest, confusion, run or {})

    def write(self, folder: Path) -> None:
        """Write the files into `folder`, each atomically."""
        write_json(folder / "results.json", self.as_dict(), indent=2)
        write_text(folder / "results.md", self.markdown())
        write_text(folder / "per_class.csv", self.csv())
        if self.confusion is not None:
            write_text(folder / "confusion.csv", confusion_csv(*self.confusion))

    def as_dict(self) -> dict[str, Any]:
        """The content of results.json; undefined values are null, as JSON has no NaN."""
        return {
            "dataset": self.dataset,
            "images": self.images,
            "results": {task: _defined(values) for task, values in self.averages.items()},
            "conventions": self.conventions,
            "class_names": asdict(self.names) if self.names else None,
            "seconds_per_image": {"processes": self.processes, **self.seconds},
            "digest": self.digest,
            "run": self.run,
            "per_class": {name: _defined(values) for name, values in self.per_class.items()},
        }

    def screen(self) -> str:
        """All averages, the conventions behind them and the speed, for the log."""
        return f"Results on {self.dataset} ({self.images} images)\n" + self._body("simple")

    def markdown(self) -> str:
        """The content of results.md."""
        parts = [f"# {self.dataset}", f"{self.images} images", *self._origin(), self._body("github"), self._classes()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def csv(self) -> str:
        """The content of per_class.csv: one row per class, one column per metric; undefined values are empty."""
        columns = list(dict.fromkeys(key for values in self.per_class.values() for key in values))
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["class", *columns])
        for name, values in self.per_class.items():
            row = [values.get(column, math.nan) for column in columns]
            writer.writerow([name, *("" if math.isnan(value) else f"{value:.6f}" for value in row)])
        return buffer.getvalue()

    def _origin(self) -> list[str]:
        """One sentence about the weights, for results.md."""
        if not self.run:
            return []
        checkpoint, iteration = self.run["checkpoint"], self.run["iteration"]
        weights = f"`{checkpoint['file']}` (SHA-256 {checkpoint['sha256'][:12]})" if checkpoint["file"] else "in memory"
        after = f", after {iteration} iterations" if iteration is not None else ""
        return [f"Weights: {weights}{after}; {self.run['date']}"]

    def _classes(self) -> str:
        """The table of all classes, for results.md."""
        columns = list(dict.fromkeys(key for values in self.per_class.values() for key in values))
        rows = [
            [name, *(_text(values.get(key, math.nan)) for key in columns)] for name, values in self.per_class.items()
        ]
        return tabulate(rows, headers=["class", *columns], tablefmt="github", disable_numparse=True) if rows else ""

    def _body(self, style: str) -> str:
        parts = []
        for task, values in self.averages.items():
            table = tabulate(
                [[_text(value) for value in values.values()]],
                headers=list(values),
                tablefmt=style,
                disable_numparse=True,
            )
            parts.append(f"{TITLES.get(task, task)}\n\n{table}")
        if self.conventions:
            parts.append("\n".join(f"- {metric}: {text}" for metric, text in self.conventions.items()))
        if self.names:
            parts.append(self.names.sentence())
        if self.seconds:
            parts.append(
                f"{self.seconds['total']:.3f} s per image in each of {self.processes} process(es), of these the model "
                f"{self.seconds['pure']:.3f} s; the first image {self.seconds['first']:.3f} s"
            )
        return "\n\n".join(parts)


def confusion_csv(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    """The content of confusion.csv: pixels, rows of predicted classes (the last: none), columns of true ones.

    Args:
        confusion: (C + 1, C) pixels, [predicted, true].
        class_names: C names.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["predicted / true", *class_names])
    writer.writerows([name, *row] for name, row in zip([*class_names, "(none)"], confusion.tolist(), strict=True))
    return buffer.getvalue()


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in values.items()}
