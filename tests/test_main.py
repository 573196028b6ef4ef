"""The command `fcclip`: it finds its sub-commands, and imports no more than they need."""

import subprocess
import sys

import pytest

from fcclip import __main__ as command
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


def imported(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(heavy=HEAVY), *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("word", ["--help", "--version", "models"])
def test_light_commands_stay_light(word: str) -> None:
    assert imported(word) == "HEAVY"


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


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main([name, "--help"])
    assert stopped.value.code == 0
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize("first", ["fcclip.public", "fcclip.data.check"])
def test_a_missing_package_is_one_sentence(first: str, monkeypatch, capsys) -> None:
    def fail(name: str) -> None:
        if name == first:
            raise ModuleNotFoundError("No module named 'cv2'")

    monkeypatch.setattr(command.importlib, "import_module", fail)
    assert command.main(["check"]) == 2
    expected = "fcclip: error: No module named 'cv2'; `python -m fcclip doctor` tells what is missing\n"
    assert capsys.readouterr().err == expected


def test_names_can_be_used_in_the_command_too() -> None:
    code = 'import sys; sys.argv = ["fcclip"]; import fcclip; print("torch" in sys.modules, fcclip.Segmenter.__name__)'
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "False Segmenter\n"
