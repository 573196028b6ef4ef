"""The command `fcclip`: it finds its sub-commands, and imports no more than they need."""

import json
import subprocess
import sys

import pytest

from fcclip import __main__ as command
from fcclip.registration import NO_DETECTRON2
from tests.tiny import REPOSITORY

HEAVY = ("torch", "detectron2", "cv2")
# As `python -m fcclip`, in a process that tells afterwards what was imported.
RUN = """
import runpy, sys
sys.argv = ["-m", *sys.argv[1:]]
sys.orig_argv = ["python", "-m", "fcclip"]
import fcclip
from fcclip.__main__ import main
main(sys.argv[1:])
print("HEAVY", *(name for name in {heavy} if name in sys.modules))
"""
# All commands, and the scripts that are one of them, in one process in which nothing that takes long can be imported.
WITHOUT = """
import contextlib, io, json, runpy, sys

sys.modules["torch"] = sys.modules["detectron2"] = None

def ending(run, *words):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(list(words))
        except SystemExit as stopped:
            code = stopped.code
    return code, out.getvalue(), err.getvalue()

def script(words):
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")

from fcclip.__main__ import COMMANDS, main

endings = {}
for name in COMMANDS:
    for flag in ("--help", "--no-such-flag"):
        endings[f"{name} {flag}"] = ending(main, name, flag)
for path in sys.argv[1:]:
    endings[f"{path} --help"] = ending(script, path, "--help")
endings["convert"] = ending(main, "convert", "old.pth", "new.pth")
print(json.dumps(endings))
"""
SCRIPTS = (
    "train_net.py",
    "demo/demo.py",
    "demo/app.py",
    "tools/convert_checkpoint.py",
    "tools/export.py",
    "tools/predict.py",
)


def python(code: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("word", ["--help", "--version", "models"])
def test_light_commands_stay_light(word: str) -> None:
    assert python(RUN.format(heavy=HEAVY), word) == "HEAVY"


@pytest.fixture(scope="module")
def endings() -> dict[str, tuple[int, str, str]]:
    """Command line -> exit code, output and errors."""
    return {words: tuple(ending) for words, ending in json.loads(python(WITHOUT, *SCRIPTS)).items()}


@pytest.mark.parametrize("name", [*command.COMMANDS, *SCRIPTS])
def test_help_does_not_wait_for_pytorch(name: str, endings: dict[str, tuple[int, str, str]]) -> None:
    code, output, errors = endings[f"{name} --help"]
    assert code == 0, errors
    assert output.startswith("usage: ")


@pytest.mark.parametrize("name", command.COMMANDS)
def test_a_wrong_flag_does_not_wait_for_pytorch(name: str, endings: dict[str, tuple[int, str, str]]) -> None:
    code, _, errors = endings[f"{name} --no-such-flag"]
    assert code == 2
    assert "error: " in errors.splitlines()[-1]


def test_a_package_that_is_missing_when_the_work_begins(endings: dict[str, tuple[int, str, str]]) -> None:
    code, _, errors = endings["convert"]
    assert code == 2
    assert errors.startswith("fcclip convert: error: ")
    assert errors.count("\n") == 1


def test_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    listed = capsys.readouterr().out
    for name, entry in command.COMMANDS.items():
        assert f"  {name}" in listed
        assert entry.help in listed


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["paint"]) == 2
    assert 'fcclip: error: there is no command "paint"' in capsys.readouterr().err
    assert command.main([]) == 2


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("cv2", "No module named 'cv2'; `python -m fcclip doctor` tells what is missing"),
        ("detectron2", NO_DETECTRON2),
    ],
)
def test_a_missing_package_is_one_sentence(missing: str, sentence: str, monkeypatch, capsys) -> None:
    def fail(_: str) -> None:
        raise ModuleNotFoundError(f"No module named '{missing}'", name=missing)

    monkeypatch.setattr(command.importlib, "import_module", fail)
    assert command.main(["check"]) == 2
    assert capsys.readouterr().err == f"fcclip: error: {sentence}\n"


def test_names_can_be_used_in_the_command_too() -> None:
    code = 'import sys; sys.argv = ["fcclip"]; import fcclip; print("torch" in sys.modules, fcclip.Segmenter.__name__)'
    assert python(code) == "False Segmenter"
