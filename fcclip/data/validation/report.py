"""Judge a whole dataset: its annotations, its files, and how many objects of each class they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from tabulate import tabulate

from fcclip.data.datasets import REGISTERED, dataset_root
from fcclip.data.datasets.registry import read_records
from fcclip.data.prepare.jobs import run_jobs
from fcclip.data.validation.agreement import require_known
from fcclip.data.validation.findings import CHECKS, FILES, IDS, PIXELS, Findings, Problem, refuse
from fcclip.data.validation.records import Expectations, frames_of, inspect_files, inspect_record

COUNT, LOADING = "number of images", "loading"
_PRINTED = 20  # problems of a dataset, and of its classes, that are printed; --json has all


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs.

    Attributes:
        name: its first synonym.
        listed: objects or segments in the annotations; of label maps (--full) the images that show it.
        loaded: how many of them training and evaluation use.
        left_out: reason -> number of the others.
    """

    name: str
    listed: int
    loaded: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        dataset: its name.
        root: folder of the datasets.
        images: number of records.
        expected: numbers of images that the whole dataset may have; empty if unknown.
        full: whether pixels were looked at.
        problems: all that is wrong.
        notes: what was mended or left out, one sentence per reason.
        classes: counts of every class; empty if they were not counted.
    """

    dataset: str
    root: str
    images: int
    expected: tuple[int, ...]
    full: bool
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    classes: tuple[ClassCount, ...] = ()

    def require_usable(self) -> None:
        """Raise the first problem, if there is any.

        Raises:
            FileNotFoundError, ValueError: see `refuse`.
        """
        refuse(self.dataset, self.problems)

    def table(self) -> str:
        """The checks, what they looked at, the classes, what was mended, and the first problems."""
        counts = Counter(problem.check for problem in self.problems)
        after_loading = [check for check in CHECKS if self.full or check != PIXELS or counts[check]]
        checks = [LOADING] if counts[LOADING] else [LOADING, COUNT, *after_loading]
        of = f" of {' or '.join(map(str, self.expected))}" if self.expected else ""
        rows = [(check, f"{self.images}{of}" if check == COUNT else self.images, counts[check]) for check in checks]
        lines = [f"{self.dataset} in {self.root}", tabulate(rows, headers=("check", "images", "problems"))]
        lines += self._class_lines()
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"{problem.check}: {problem.file} {problem.message}" for problem in self.problems[:_PRINTED]]
        if len(self.problems) > _PRINTED:
            lines.append(f"... and {len(self.problems) - _PRINTED} more problems")
        return "\n".join(lines)

    def _class_lines(self) -> list[str]:
        if not self.classes:
            return []
        # Classes of which something is missing come first.
        ordered = sorted(self.classes, key=lambda count: count.loaded == count.listed > 0)
        rows = [
            (count.name, count.listed, count.loaded, ", ".join(f"{n} {why}" for why, n in count.left_out.items()))
            for count in ordered[:_PRINTED]
        ]
        lines = [tabulate(rows, headers=("class", "listed", "loaded", "left out"))]
        if len(ordered) > _PRINTED:
            lines.append(f"... and {len(ordered) - _PRINTED} more classes")
        return lines


def check_dataset(name: str, full: bool = False, workers: int = 0, whole: bool = True) -> Report:
    """Look at every record of a registered dataset.

    Args:
        name: its name in Detectron2's catalog.
        full: decode every file.
        workers: number of processes; 0 or 1 works in this one.
        whole: also ask for all images of a published dataset, and for the files that evaluation alone needs.

    Raises:
        ValueError: there is no dataset of that name.
    """
    require_known([name])
    spec = REGISTERED.get(name)
    expected = spec.sizes if spec else ()
    root = (spec.root if spec else dataset_root)()
    report = partial(Report, name, str(root.absolute()), expected=expected, full=full)
    try:
        records, findings = read_records(spec) if spec else (DatasetCatalog.get(name), Findings())
        expectations = _expectations(name, full)
    except (OSError, ValueError, KeyError, AssertionError) as error:  # the last two: Detectron2's own loaders
        return report(images=0, problems=(Problem(LOADING, name, f"failed: {error}"),))
    if whole:
        findings.problems[:0] = _check_whole(name, records, expected)
    there = inspect_files(records)
    # Whether files exist is judged again when each is opened.
    findings.problems += [problem for problem in there.problems if "is named as" in problem.message]
    images = [frame for record in records for frame in frames_of(record)]
    for found in run_jobs(partial(inspect_record, expectations=expectations), images, workers, name, unit="image"):
        findings.merge(found)
    return report(
        images=len(records),
        problems=tuple(findings.problems),
        notes=tuple(findings.sentences()),
        classes=_class_counts(name, findings),
    )


def _class_counts(name: str, findings: Findings) -> tuple[ClassCount, ...]:
    """Counts of all classes of a dataset, in their order."""
    if not findings.listed:
        return ()
    metadata = MetadataCatalog.get(name)
    strings = metadata.get("stuff_classes") or metadata.get("thing_classes") or []
    names = [string.split(",")[0] for string in strings]
    ids = dict(metadata.get("stuff_dataset_id_to_contiguous_id") or {})
    ids |= metadata.get("thing_dataset_id_to_contiguous_id") or {}
    by_index: dict[int, Counter[str]] = {index: Counter() for index in range(len(names))}
    totals = {index: [0, 0] for index in by_index}
    for key in findings.listed:
        index = ids.get(key, key)
        if index not in totals:
            continue
        totals[index][0] += findings.listed[key]
        totals[index][1] += findings.loaded[key]
        for (category, reason), count in findings.left_out.items():
            if category == key:
                by_index[index][reason] += count
    return tuple(ClassCount(names[i], totals[i][0], totals[i][1], dict(by_index[i])) for i in by_index)


def _expectations(name: str, full: bool) -> Expectations:
    metadata = MetadataCatalog.get(name)
    classes = metadata.get("stuff_classes") or metadata.get("thing_classes") or []
    return Expectations(classes=len(classes), ignore_label=metadata.get("ignore_label"), full=full)


def _check_whole(name: str, records: Sequence[dict[str, Any]], expected: Sequence[int]) -> list[Problem]:
    """Problems that no single record shows."""
    problems = []
    if expected and len(records) not in expected:
        stated = " or ".join(map(str, expected))
        problems.append(Problem(COUNT, name, f"has {len(records)} images, the whole dataset {stated}"))
    ids = Counter(record["image_id"] for record in records if "image_id" in record)
    repeated = [id_ for id_, count in ids.items() if count > 1]
    if repeated:
        problems.append(Problem(IDS, name, f"has {len(repeated)} image ids more than once, {repeated[0]!r} the first"))
    if not records:
        problems.append(Problem(COUNT, name, "has no image"))
    json_file = MetadataCatalog.get(name).get("json_file")
    if json_file and not Path(json_file).is_file():
        problems.append(Problem(FILES, json_file, "does not exist; instances cannot be evaluated without it"))
    return problems
