"""Verify a prepared dataset: python -m fcclip.data.check NAME [--full] [--json FILE]

Looks whether every file is there, images and labels are of equal size, ids are known, and the number of images is that
of the whole dataset. With --full it also decodes every file: labels must be classes, and the pixels of panoptic PNGs
must be those of their segments. Prints a table and the problems; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from tabulate import tabulate

from fcclip.config import get_cfg
from fcclip.data.datasets import REGISTERED, dataset_root
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.data.datasets.registry import read_records
from fcclip.data.inspection import CHECKS, FILES, IDS, PIXELS, Expectations, Problem, inspect_record
from fcclip.data.prepare.cli import default_workers
from fcclip.data.prepare.jobs import run_jobs
from fcclip.files.atomic import write_json

COUNT, LOADING = "number of images", "loading"
_PRINTED = 20  # problems of a dataset that are printed; --json has all


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
    """

    dataset: str
    root: str
    images: int
    expected: tuple[int, ...]
    full: bool
    problems: tuple[Problem, ...]

    def table(self) -> str:
        """The checks, what they looked at, and the first problems."""
        counts = Counter(problem.check for problem in self.problems)
        after_loading = [check for check in CHECKS if self.full or check != PIXELS or counts[check]]
        checks = [LOADING] if counts[LOADING] else [LOADING, COUNT, *after_loading]
        of = f" of {' or '.join(map(str, self.expected))}" if self.expected else ""
        rows = [(check, f"{self.images}{of}" if check == COUNT else self.images, counts[check]) for check in checks]
        lines = [f"{self.dataset} in {self.root}", tabulate(rows, headers=("check", "images", "problems"))]
        lines += [f"{problem.check}: {problem.file} {problem.message}" for problem in self.problems[:_PRINTED]]
        if len(self.problems) > _PRINTED:
            lines.append(f"... and {len(self.problems) - _PRINTED} more problems")
        return "\n".join(lines)


def check_dataset(name: str, full: bool = False, workers: int = 0) -> Report:
    """Look at every record of a registered dataset.

    Args:
        name: its name in Detectron2's catalog.
        full: decode every file.
        workers: number of processes; 0 or 1 works in this one.

    Raises:
        ValueError: there is no dataset of that name.
    """
    if name not in DatasetCatalog:
        similar = difflib.get_close_matches(name, DatasetCatalog, n=3)
        hint = f"did you mean {', '.join(similar)}?" if similar else "--list names those that there are"
        raise ValueError(f'there is no dataset "{name}"; {hint}')
    spec = REGISTERED.get(name)
    expected = spec.sizes if spec else ()
    root = (spec.root if spec else dataset_root)()
    report = partial(Report, name, str(root.absolute()), expected=expected, full=full)
    try:
        records = read_records(spec) if spec else DatasetCatalog.get(name)
        expectations = _expectations(name, full)
    except (OSError, ValueError, KeyError, AssertionError) as error:  # the last two: Detectron2's own loaders
        return report(images=0, problems=(Problem(LOADING, name, f"failed: {error}"),))
    found = run_jobs(partial(inspect_record, expectations=expectations), records, workers, name, unit="image")
    problems = [*_check_whole(name, records, expected), *(problem for problems in found for problem in problems)]
    return report(images=len(records), problems=tuple(problems))


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
    json_file = MetadataCatalog.get(name).get("json_file")
    if json_file and not Path(json_file).is_file():
        problems.append(Problem(FILES, json_file, "does not exist; instances cannot be evaluated without it"))
    return problems


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not arguments.names and not arguments.list:
        parser.error("give the NAME of a dataset, or --list")
    try:
        if arguments.config_file:
            _register_custom(arguments.config_file)
        if arguments.list:
            print("\n".join(sorted(name for name, spec in REGISTERED.items() if spec.layout)))
            return 0
        reports = [check_dataset(name, arguments.full, arguments.workers) for name in arguments.names]
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n\n".join(report.table() for report in reports))
    if arguments.json:
        write_json(arguments.json, [asdict(report) for report in reports], indent=1)
    return int(any(report.problems for report in reports))


def _register_custom(config_file: str) -> None:
    cfg = get_cfg()
    try:
        cfg.merge_from_file(config_file)
    except (AssertionError, KeyError) as error:  # what Detectron2 raises for a missing file and for an unknown key
        raise ValueError(f"{config_file} cannot be used: {error}") from error
    register_custom_datasets(cfg)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fcclip.data.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="name of a dataset, e.g. openvocab_ade20k_panoptic_val"
    )
    parser.add_argument("--full", action="store_true", help="decode every file and look at its pixels")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found to FILE")
    parser.add_argument("--config-file", metavar="FILE", help="register the DATASETS.CUSTOM of a configuration first")
    parser.add_argument("--workers", type=int, default=default_workers(), help="processes (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list the names and exit")
    return parser


if __name__ == "__main__":
    sys.exit(main())
