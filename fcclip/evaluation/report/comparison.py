"""Two evaluations side by side: what changed in the averages and in the classes, and what the runs differ in."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

RESULTS = "results.json"
CLASSES = 10  # classes that are listed of those that gained and of those that lost most


def read_results(path: str | Path) -> dict[str, Any]:
    """The content of a `results.json`, given itself or its folder.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is no results of an evaluation.
    """
    path = Path(path)
    file = path / RESULTS if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"there are no results {file}; give the folder of an evaluation, or its {RESULTS}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is not a JSON file: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("results"), dict):
        raise ValueError(f"{file} holds no results of an evaluation")
    return content


def compare_results(first: Mapping[str, Any], second: Mapping[str, Any], classes: int = CLASSES) -> str:
    """The text of a comparison, second minus first.

    Args:
        first, second: as `read_results` gives them.
        classes: how many classes are listed of those that gained and of those that lost most, per metric.
    """
    parts = [describe(first, "first"), describe(second, "second"), *differences_of_runs(first, second)]
    for task in first["results"]:
        if task not in second["results"]:
            continue
        rows = list(_rows(first["results"][task], second["results"][task]))
        parts.append(f"{task}\n" + _table(rows, "metric"))
    common = first.get("per_class", {}).keys() & second.get("per_class", {}).keys()
    columns = dict.fromkeys(key for name in sorted(common) for key in first["per_class"][name])
    for column in columns:
        values = [{name: run["per_class"][name].get(column) for name in common} for run in (first, second)]
        rows = sorted(_rows(*values), key=lambda row: row[3])
        changed = [row for row in rows if row[3]]
        if changed:
            shown = changed if len(changed) <= 2 * classes else [*changed[:classes], *changed[-classes:]]
            parts.append(f"{column}, classes that changed most\n" + _table(shown, "class"))
    return "\n\n".join(parts)


def describe(results: Mapping[str, Any], name: str) -> str:
    """One line about a run."""
    run = results.get("run", {})
    checkpoint = run.get("checkpoint", {}).get("file") or "weights in memory"
    iteration = "" if run.get("iteration") is None else f", iteration {run['iteration']}"
    return (
        f"{name}: {checkpoint}{iteration}, {results.get('dataset')}, {results.get('images')} images, {run.get('date')}"
    )


def differences_of_runs(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Sentences about data set, number of images, vocabulary, versions and configuration, where they differ."""
    found = [f"not the same {key}" for key in ("dataset", "images") if first.get(key) != second.get(key)]
    runs = [results.get("run", {}) for results in (first, second)]
    if runs[0].get("vocabulary") != runs[1].get("vocabulary"):
        found.append("not the same vocabulary")
    versions = [run.get("versions", {}) for run in runs]
    for package in sorted(versions[0].keys() | versions[1].keys()):
        old, new = (version.get(package, "none") for version in versions)
        if old != new:
            found.append(f"{package} {old}, then {new}")
    lines = [set(str(run.get("configuration", "")).splitlines()) for run in runs]
    changed = [f"- {line.strip()}" for line in sorted(lines[0] - lines[1])]
    changed += [f"+ {line.strip()}" for line in sorted(lines[1] - lines[0])]
    parts = []
    if found:
        parts.append("differences: " + "; ".join(found))
    if changed:
        parts.append("configuration\n" + "\n".join(changed))
    return parts


def _rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[tuple[str, float, float, float]]:
    """(name, first, second, second - first) of what both have."""
    for name, old in first.items():
        new = second.get(name)
        if old is not None and new is not None and math.isfinite(old) and math.isfinite(new):
            yield name, old, new, new - old


def _table(rows: list[tuple[str, float, float, float]], kind: str) -> str:
    text = [[name, f"{old:.3f}", f"{new:.3f}", f"{change:+.3f}"] for name, old, new, change in rows]
    return tabulate(text, headers=[kind, "first", "second", "change"], disable_numparse=True)
