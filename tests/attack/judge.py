"""How an attack ends: with the right result, or refused in one sentence that says what is wrong with what."""

from __future__ import annotations

import logging
import resource
import shutil
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import fcclip
from fcclip.engine.errors import EXPLAINED, sentence_of

PACKAGE = Path(fcclip.__file__).parent
SECONDS = 10
MEMORY_MB = 1024  # that one input may add to the process
MEMORY_LIMIT = 12 << 30  # bytes of the process, so that an attack that succeeds does not take the machine along
LONGEST_SENTENCE = 600
SENTINEL = Path(tempfile.gettempdir(), "fcclip_attack_was_run")  # what programs in files make when they are run
# How a library tells of a fault in the program, not of one in the input.
INNER_WORDS = ("Traceback", "object has no attribute", "unexpected keyword", "not subscriptable", "Errno ")


@dataclass(frozen=True)
class Attack:
    """One input.

    Attributes:
        name: tells it from the others of its group.
        act: given an empty folder, makes the input and gives it to the package; returns what came out.
        is_right: whether what came out is right; only asked where nothing was refused.
        named: what the sentence must have in it, such as the file's name.
        may_pass: whether the input may be accepted at all.
    """

    name: str
    act: Callable[[Path], Any]
    is_right: Callable[[Any], bool] = field(default=lambda result: True)
    named: str = ""
    may_pass: bool = True


class TooSlowError(BaseException):
    """An input was not done with in time; no `except Exception` of the package may hold it up."""


def judge(attack: Attack) -> str:
    """Make an attack in a folder of its own.

    Returns:
        "right" or "refused"; anything else is a fault: a sentence that begins with "wrong", "unclear" or "hang".
    """
    folder = Path(tempfile.mkdtemp(prefix="attack-"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _in_bounds(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = _judge(attack, folder)
    except TooSlowError:
        verdict = f"hang: not done after {SECONDS} s"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return verdict if added < MEMORY_MB else f"hang: took {added:.0f} MB ({verdict})"


def _judge(attack: Attack, folder: Path) -> str:
    try:
        result = attack.act(folder)
    except Exception as error:
        return _judge_refusal(attack, error)
    except SystemExit as error:  # a command line; its sentence has been read by `act`
        return "refused" if error.code == 2 else f"unclear: exit code {error.code}"
    if not attack.may_pass:
        return f"wrong: accepted, {_short(result)}"
    return "right" if attack.is_right(result) else f"wrong: {_short(result)}"


def _judge_refusal(attack: Attack, error: Exception) -> str:
    sentence = str(error) if isinstance(error, TypeError) else sentence_of(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    shown = f"{type(error).__name__}: {sentence[:200]} ({Path(where.filename).name}:{where.lineno})"
    if not isinstance(error, (*EXPLAINED, TypeError)):
        return f"unclear: {shown}"
    said_by_us = Path(where.filename).is_relative_to(PACKAGE)
    said_by_system = isinstance(error, OSError) and error.strerror and error.filename
    if not (said_by_us or said_by_system) or any(word in sentence for word in INNER_WORDS):
        return f"unclear: from inside, {shown}"
    if len(sentence) > LONGEST_SENTENCE or attack.named not in sentence:
        return f"unclear: does not name {attack.named!r}, {shown}"
    return "refused"


@contextmanager
def _in_bounds() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, limits[1]))
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)  # what is thrown away is logged, hundreds of times
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        logging.disable(disabled)
        resource.setrlimit(resource.RLIMIT_DATA, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
