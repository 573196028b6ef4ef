"""requirements.txt and pyproject.toml ask for the same packages."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def test_requirements_equal_the_dependencies_of_the_package() -> None:
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    required = [line for line in lines if line and not line.startswith("#")]
    block = re.search(
        r"^dependencies = \[(.*?)^\]", (REPOSITORY / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE
    )
    assert block is not None
    assert sorted(required) == sorted(re.findall(r'^\s*"(.+)",$', block.group(1), re.MULTILINE))
