"""Results as people and programs read them: a table on the screen, results.json, results.md and per_class.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from fcclip.evaluation.base import ImageEvaluator, Results
from fcclip.evaluation.class_names import ClassNames
from fcclip.files.atomic import write_json, write_text

TITLES = {"panoptic_seg": "Panoptic", "sem_seg": "Semantic", "segm": "Instances (masks)", "bbox": "Instances (boxes)"}


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
        return cls(dataset, averages, per_class, conventions, images, means, len(seconds), digest)

    def write(self, folder: Path) -> None:
        """Write the three files into `folder`, each atomically."""
        write_json(folder / "results.json", self.as_dict(), indent=2)
        write_text(folder / "results.md", self.markdown())
        write_text(folder / "per_class.csv", self.csv())

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
            "per_class": {name: _defined(values) for name, values in self.per_class.items()},
        }

    def screen(self) -> str:
        """All averages, the conventions behind them and the speed, for the log."""
        return f"Results on {self.dataset} ({self.images} images)\n" + self._body("simple")

    def markdown(self) -> str:
        """The content of results.md."""
        return f"# {self.dataset}\n\n{self.images} images\n\n{self._body('github')}\n"

    def csv(self) -> str:
        """The content of per_class.csv: a row a class, a column a metric; undefined values are empty."""
        columns = list(dict.fromkeys(key for values in self.per_class.values() for key in values))
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(["class", *columns])
        for name, values in self.per_class.items():
            row = [values.get(column, math.nan) for column in columns]
            writer.writerow([name, *("" if math.isnan(value) else f"{value:.6f}" for value in row)])
        return buffer.getvalue()

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
                f"{self.seconds['total']:.3f} s an image in each of {self.processes} process(es), of these the model "
                f"{self.seconds['pure']:.3f} s; the first image {self.seconds['first']:.3f} s"
            )
        return "\n\n".join(parts)


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _defined(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in values.items()}
