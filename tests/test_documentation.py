"""What the pages say can be done: their Python is run, and the commands that they show exist with these flags."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fcclip import Segmenter
from fcclip.__main__ import COMMANDS
from fcclip.commands import demo
from fcclip.data.panoshapes.__main__ import main as render
from fcclip.zoo import shipped_models
from tests.tiny import REPOSITORY

PAGES = sorted(
    path for pattern in ("*.md", "docs/**/*.md", "datasets/*.md", "deploy/**/*.md") for path in REPOSITORY.glob(pattern)
)
WITH_PYTHON = [path for path in PAGES if "```python" in path.read_text(encoding="utf-8")]
BLOCK = re.compile(r"```(\w*)[^\n]*\n(.*?)```|\n\n((?:    [^\n]*\n)+)", re.DOTALL)
SHELLS = ("", "bash", "sh", "console")
STARTS = ("fcclip ", "python ", "make ", ".venv/bin/fcclip ", ".venv/bin/python ")
MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
    for path in (REPOSITORY / "fcclip").rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one go, in an empty folder with a picture; models that have to be fetched are the one that comes along."""
    if "requests." in page.read_text(encoding="utf-8"):
        pytest.skip("talks to a server; tests/integration/test_serve.py has one")
    if 'Runtime("exported")' in page.read_text(encoding="utf-8"):
        pytest.skip("runs an exported model; tests/export/test_runtime.py has one, and runs this page")
    load = Segmenter.from_pretrained
    shipped = shipped_models()
    monkeypatch.setattr(
        Segmenter,
        "from_pretrained",
        lambda name, **options: load(name if name in shipped else "panoshapes", **options),
    )
    monkeypatch.chdir(tmp_path)
    render(["photo.jpg", "--seed", "72"])
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
    exec(compile(code, str(page), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_a_module_are_right(module: str) -> None:
    tried = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert tried.attempted > 0
    assert tried.failed == 0


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every command of a page that this project brings."""
    for language, fenced, indented in BLOCK.findall(page.read_text(encoding="utf-8")):
        if language not in SHELLS or (indented and not indented.strip().startswith(STARTS)):  # a list that goes on
            continue
        for line in (fenced or indented).replace("\\\n", " ").splitlines():
            if line.strip().startswith(STARTS):
                yield shlex.split(line.strip(), comments=True)


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))], ids=name_of)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    wrong = [" ".join(words) for words in commands(page) if not exists(words)]
    assert not wrong, wrong


def exists(words: list[str]) -> bool:
    """Whether there is such a program or target, with these flags and these configurations."""
    program, *rest = words
    if program == "make":
        targets = [word for word in rest if "=" not in word]
        return all(re.search(rf"^{target}:", makefile(), re.MULTILINE) for target in targets)
    if Path(program).name == "fcclip":
        source = source_of_command(rest[0]) if rest and rest[0] in COMMANDS else ""
    elif rest[0] == "-m":
        module = rest[1]
        if module == "fcclip":
            source = source_of_command(rest[2]) if rest[2] in COMMANDS else ""
        elif not module.startswith("fcclip"):
            return True  # pip, http.server, ...
        else:
            source = source_of(module)
    elif rest[0].endswith(".py"):
        source = source_of(rest[0].removesuffix(".py").replace("/", "."))
    else:
        return True
    flags = [word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)]
    configs = [word for word in rest if re.match(r"configs/[\w/-]+\.yaml$", word) and "CONFIG" not in word]
    made = ("configs/rust.yaml",)  # by the reader, on the same page
    return (
        bool(source)
        and all(re.search(rf"[\"']{flag}[\"']", source) or flag in ("--help", "--version") for flag in flags)
        and all((REPOSITORY / config).is_file() or config in made for config in configs)
    )


@cache
def makefile() -> str:
    return (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def source_of_command(name: str) -> str:
    return source_of(COMMANDS[name].module)


@cache
def source_of(module: str) -> str:
    """The text of a module, and of the modules of this project that it imports; "" if there is none."""
    found, left = {}, [module]
    while left:
        name = left.pop()
        path = REPOSITORY / (name.replace(".", "/") + ".py")
        if name in found or not path.is_file():
            if path.with_suffix("").is_dir():
                left.append(f"{name}.__main__")
            continue
        found[name] = path.read_text(encoding="utf-8")
        imported = re.findall(
            r"^\s*(?:from|import) ((?:fcclip|tools|datasets|demo|integrations)[\w.]*)", found[name], re.MULTILINE
        )
        left += imported
    return "\n".join(found.values()) if found else ""


def test_the_flags_of_the_demo_are_found() -> None:
    """The search for flags can tell what is there from what is not."""
    assert "--look-ahead" in source_of(demo.__name__)
    assert exists(["fcclip", "segment", "a.jpg", "--output", "b.png"])
    assert not exists(["fcclip", "segment", "a.jpg", "--outputs", "b.png"])
    assert not exists(["make", "tea"])
    assert not exists(["python", "tools/nothing.py"])
    assert not exists(["python", "train_net.py", "--config-file", "configs/nothing.yaml"])
