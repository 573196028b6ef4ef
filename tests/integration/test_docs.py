"""The how-to pages: their Python is run, and what they list is what there is."""

import re
from pathlib import Path

import pytest

from fcclip.formats.names import FORMATS
from tests.tiny import REPOSITORY

RESULTS = REPOSITORY / "docs" / "results.md"


def test_the_code_of_results_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", RESULTS.read_text(), re.DOTALL))
    names: dict[str, object] = {}
    exec(compile(code, str(RESULTS), "exec"), names)
    assert (tmp_path / "drawn.png").is_file()
    assert (tmp_path / "labels" / "scene.json").is_file()
    assert (tmp_path / "yolo_dataset" / "data.yaml").is_file()
    found = names["result"]
    assert {segment.name for segment in found.segments} >= {"red star", "purple heart"}  # type: ignore[attr-defined]


def test_every_format_is_listed() -> None:
    table = RESULTS.read_text().split("| format |")[1].split("\n\n")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)} == set(FORMATS)
