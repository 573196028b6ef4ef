"""How commands end: a mistake of the user's in one sentence, an interruption without a traceback."""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fcclip.files.atomic import NO_ROOM
from fcclip.files.places import reason_of
from fcclip.registration import NO_DETECTRON2

INTERRUPTED = 130  # exit codes of the shell for SIGINT and SIGTERM
TERMINATED = 143
ROOM = "make room on the disk, and start again"
DOCTOR = "`python -m fcclip doctor` tells what is missing"
# What this package raises for what a user can mend; everything else is a fault of the program.
EXPLAINED = (OSError, ValueError, RuntimeError, ArithmeticError, ImportError)
# What Python says of every call that takes a path, up to 3.12 and from 3.13 on.
NUL_IN_PATH = re.compile("^embedded null byte$|^[a-z]+: embedded null character in path$")


class Terminated(KeyboardInterrupt):
    """The process was told to end by SIGTERM; handled as Ctrl-C is."""


def add_debug_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--debug`, for `run_command`."""
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came up")


def run_command(program: str, work: Callable[[], int | None], debug: bool = False) -> int:
    """Do the work of a command; an error becomes one sentence on standard error.

    While it works, SIGTERM ends it as Ctrl-C does, so that what is being written is put away.

    Args:
        program: begins the sentence.
        work: returns an exit code, or None for 0.
        debug: let errors pass, with their traceback.

    Returns:
        The exit code: that of the work, 1 after an error, 2 where a package is missing, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    try:
        with terminated_as_interrupted():
            return work() or 0
    except KeyboardInterrupt as interruption:
        if debug:
            raise
        print(f"{program}: interrupted; {str(interruption) or 'what was finished before is kept'}", file=sys.stderr)
        return TERMINATED if isinstance(interruption, Terminated) else INTERRUPTED
    except Exception as error:
        if debug:
            raise
        print(f"{program}: error: {sentence_of(error)}", file=sys.stderr)
        return 2 if _is_missing_package(error) else 1


def run_tool(main: Callable[[], int | None]) -> int:
    """As `run_command`, for a script whose `main` reads the command line; the flag `--debug` is taken from that."""
    program, *words = sys.argv
    sys.argv = [program, *(word for word in words if word != "--debug")]
    return run_command(Path(program).name, main, debug="--debug" in words)


@dataclass
class Interruption:
    """Attributes:
    came: the user, or the system, wants the work to end.
    """

    came: bool = False


@contextmanager
def interruption_noted() -> Iterator[Interruption]:
    """Within, the first Ctrl-C or SIGTERM is only noted, so that work in hand can be finished; the second interrupts.

    In threads other than the main one nothing changes.
    """
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def note(number: int, frame: FrameType | None) -> None:
        noted.came = True
        restore()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        restore()


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`; in threads other than the main one nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def sentence_of(error: BaseException) -> str:
    """What went wrong, for people: one line, with the remedy where the program knows one."""
    if type(error).__name__ == "ProcessRaisedException":  # PyTorch's; its text is the traceback of another process
        last = str(error).strip().splitlines()[-1]
        return last.partition(": ")[2] or last
    if isinstance(error, OSError) and error.strerror:
        return f"{reason_of(error)}; {ROOM}" if error.errno in NO_ROOM else reason_of(error)
    text = " ".join(str(error).split())
    if _is_missing_package(error):
        return NO_DETECTRON2 if text == "No module named 'detectron2'" else f"{text}; {DOCTOR}"
    if isinstance(error, ValueError) and NUL_IN_PATH.search(text):
        return "no file can have a NUL byte in its name; check the paths"
    if isinstance(error, EXPLAINED) and text:
        return text
    return f"the program failed ({type(error).__name__}: {text}); run it again with --debug and report what it shows"


def _is_missing_package(error: BaseException) -> bool:
    """Whether an import failed; errors of our own about a package have no `name`, and tell the remedy themselves."""
    return isinstance(error, ModuleNotFoundError) and error.name is not None
