"""What pip is asked for, in pyproject.toml and in requirements.txt."""

from importlib import metadata

import pytest
from packaging.requirements import Requirement

from tests.tiny import REPOSITORY
from tools import requirements


def test_requirements_equal_the_dependencies_of_the_package() -> None:
    written = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    assert written == requirements.requirements(), "run python tools/requirements.py"


@pytest.mark.parametrize("line", requirements.dependencies())
def test_what_is_installed_lies_within_the_bounds(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)


def test_the_lowest_versions_are_those_of_the_lower_bounds() -> None:
    lowest = [Requirement(line) for line in requirements.lowest().splitlines()]
    asked = requirements.dependencies() + [
        line for extra in requirements.TESTED_EXTRAS for line in requirements.of_extra(extra)
    ]
    bounded = [line for line in asked if not line.startswith("fsspec>=")]
    for line, exact in zip(bounded, lowest, strict=True):
        requirement = Requirement(line)
        [pin] = exact.specifier
        assert exact.name == requirement.name
        assert pin.operator == "=="
        assert f">={pin.version}" in str(requirement.specifier)


def test_the_lowest_versions_include_those_of_the_extras() -> None:
    lowest = requirements.lowest().splitlines()
    names = {line.partition("==")[0] for line in lowest}
    assert {"torch", "av", "fastapi", "uvicorn", "python-multipart", "pyarrow", "ray"} <= names
    assert "fsspec" not in names


def test_a_dependency_without_bounds_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "pyproject.toml").write_text('dependencies = [\n    "torch>=2.6,<3",\n    "numpy>=1.26",\n]\n')
    monkeypatch.setattr(requirements, "REPOSITORY", tmp_path)
    with pytest.raises(ValueError, match=r'"numpy>=1.26" in pyproject.toml is not of the form NAME>=LOWEST,<UNTRIED'):
        requirements.dependencies()
