#!/usr/bin/env python3
"""Write what pyproject.toml asks for in the form that pip reads from a file.

python tools/requirements.py              # writes requirements.txt
python tools/requirements.py --lowest     # prints the lowest version of everything, for `make test-lowest`
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TESTED_EXTRAS = ("video", "http", "batch")  # those that the extra `lowest` installs
LEFT_TO_OTHERS = "fsspec"  # s3fs, with which it is tested, asks for one version of it
HEAD = """\
# What the package needs at run time; written by tools/requirements.py from pyproject.toml. Detectron2 is not on the
# package index, and so not here: after these, python tools/install_detectron2.py
"""


def dependencies() -> list[str]:
    """The dependencies of the package, in the order of pyproject.toml.

    Raises:
        ValueError: one of them lacks a lower or an upper bound.
    """
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    lines = re.findall(r'^\s*"(.+)",$', block.group(1), re.MULTILINE) if block else []
    for line in lines:
        if not re.fullmatch(r"[\w-]+>=[\w.]+,<[\w.]+", line):
            raise ValueError(f'"{line}" in pyproject.toml is not of the form NAME>=LOWEST,<UNTRIED')
    return lines


def of_extra(name: str) -> list[str]:
    """What an extra of pyproject.toml asks for, which must stand on one line there."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    line = re.search(rf"^{name} = \[(.*)\]$", text, re.MULTILINE)
    return re.findall(r'"([^"]+)"', line.group(1)) if line else []


def requirements() -> str:
    """The text of requirements.txt."""
    return HEAD + "".join(f"{line}\n" for line in dependencies())


def lowest() -> str:
    """The lowest version that is allowed of everything, one per line, as pip reads constraints."""
    lines = dependencies() + [line for extra in TESTED_EXTRAS for line in of_extra(extra)]
    bounds = [re.sub(r"\[.*?\]", "", line.partition(",")[0]).split(">=") for line in lines]
    return "".join(f"{name}=={version}\n" for name, version in bounds if name != LEFT_TO_OTHERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lowest", action="store_true", help="print the lowest versions instead")
    if parser.parse_args().lowest:
        print(lowest(), end="")
    else:
        (REPOSITORY / "requirements.txt").write_text(requirements(), encoding="utf-8")


if __name__ == "__main__":
    main()
