"""What the scripts import first."""

import ast
from pathlib import Path

import pytest

from tests.tiny import REPOSITORY

FOLDERS = ("datasets", "demo", "integrations", "tools")
SCRIPTS = [
    path
    for path in sorted(path for name in FOLDERS for path in (REPOSITORY / name).glob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]


def packages(path: Path) -> list[str]:
    """The packages that a script imports, in its order."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return [name.partition(".")[0] for name in found]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_warnings_of_detectron2_are_silenced_before_they_come(path: Path) -> None:
    order = packages(path)
    assert "detectron2" not in order or order.index("fcclip") < order.index("detectron2")
