"""Run a command undisturbed, then kill it at random moments, repeat it, and compare what lies there in the end."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.disks import judge_message, size_of, small_disk
from tests.faults.operations import AGAIN, Operation
from tests.faults.trees import contents, differences
from tests.faults.zygote import Command, Zygote

LONGEST = 900.0  # seconds of a command; an export takes a minute, on a busy machine ten
ORPHANS_LEFT = 30.0  # seconds that what a killed command has started may live on
TICK = 0.003
DRAWS = 10  # moments that are tried until one comes before the end of the command
PHASES = ("start", "work", "end")
INPUT = ("input*",)  # the test's own


@dataclass(frozen=True)
class Moment:
    """When a command is killed, and how.

    Attributes:
        number: of the kill.
        signal: SIGKILL or SIGTERM.
        share: of the time of an undisturbed run, 0 to 1.
        in_work: the time counts from the first file of the work on, and not from the start.
    """

    number: int
    signal: signal.Signals
    share: float
    in_work: bool

    def __str__(self) -> str:
        where = "from the first result on" if self.in_work else "from the start"
        return f"{self.signal.name} at {self.share:.3f} of the time {where}"

    @classmethod
    def draw(cls, seed: int, name: str, number: int, again: int = 0) -> Moment:
        """Half of the kills by SIGKILL; half of either kind fall into the work. `again` draws another share."""
        share = random.Random(f"{seed} {name} {number}" + f" {again}" * bool(again)).random()
        return cls(number, (signal.SIGKILL, signal.SIGTERM)[number % 2], share, number // 2 % 2 == 1)


@dataclass
class Fault:
    """What was done to a command, and how it ended.

    Attributes:
        number: of it.
        what: when a signal came, or how much room there was.
        phase: of the command when it came; "" if it had ended before.
        wrong: what is not as in an undisturbed run.
        left: what should not be there.
        drawn_again: how often the command had ended before, so that another moment was drawn.
    """

    number: int
    what: str
    phase: str = ""
    wrong: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    drawn_again: int = 0

    def __str__(self) -> str:
        found = [*self.wrong, *(f"left behind: {name}" for name in self.left)]
        return f"{self.number} ({self.what}, {self.phase or 'too late'}): {'; '.join(found) or 'right'}"


def first_in_time(attempt: Callable[[Moment], Fault], seed: int, name: str, number: int) -> Fault:
    """Try moments, one after another, until one comes before the end of the command; one that went wrong counts too."""
    for again in range(DRAWS):
        fault = attempt(Moment.draw(seed, name, number, again))
        fault.drawn_again = again
        if fault.phase or fault.wrong or fault.left:
            return fault
    fault.wrong.append(f"the command had ended {DRAWS} times before it was disturbed")
    return fault


class Trial:
    """An operation in a folder of its own.

    Args:
        operation: what is run.
        zygote: starts it.
        work: an empty folder.
        server: the address that downloads come from.
    """

    def __init__(self, operation: Operation, zygote: Zygote, work: Path, server: str) -> None:
        self._operation, self._zygote, self._server = operation, zygote, server
        self._folder, self._template, self.log = work / "run", work / "template", work / "log"
        self._folder.mkdir(parents=True)
        operation.set_up(self._folder)
        for name in ("tmp", "cache"):
            (self._folder / name).mkdir()
        shutil.copytree(self._folder, self._template)

    def run_undisturbed(self) -> None:
        """The reference; must come first."""
        self._reset()
        command, start, begun = self._start(False), time.monotonic(), None
        while (code := command.wait(TICK)) is None and time.monotonic() < start + LONGEST:
            begun = begun or (time.monotonic() if self._is_there(self._operation.first) else None)
        self.seconds = time.monotonic() - start
        self.seconds_of_work = self.seconds - (begun or start) + start
        if code != 0 or begun is None:
            command.end_all()
            raise RuntimeError(f"the undisturbed {self._operation.name} ended with {code}: {self._last_line()}")
        self._expected = self._found()
        self.growth = max(1, size_of(self._folder) - size_of(self._template))

    def kill(self, moment: Moment) -> Fault:
        """Kill the command at a moment, repeat it, and compare."""
        self._reset()
        start = time.monotonic()
        fault, command = Fault(moment.number, str(moment)), self._start(False)
        if self._wait_until(command, moment):
            phase = self._phase()
            fault.phase = phase if command.send(moment.signal) else ""
        if not fault.phase:
            self._is_faster(time.monotonic() - start)
        self._end(command, fault)
        self._repeat_and_compare(fault)
        return fault

    def fill(self, moment: Moment) -> Fault:
        """Run the command on a disk that has room for a share of what it writes, repeat it with room, and compare."""
        fault = Fault(moment.number, f"room for {moment.share:.3f} of the files")
        with small_disk(self._folder) as disk:
            shutil.copytree(self._template, self._folder, dirs_exist_ok=True)
            disk.resize(size_of(self._template) + int(moment.share * self.growth))
            self.log.unlink(missing_ok=True)
            code = self._end(self._start(False), fault)
            fault.phase = self._phase() if code else ""
            if code:
                fault.wrong += judge_message(self.log.read_text(encoding="utf-8", errors="replace"), self._folder)
            disk.resize(None)
            self._repeat_and_compare(fault)
        return fault

    def _end(self, command: Command, fault: Fault) -> int:
        """Wait for the end of a command and of all that it has started; its exit code."""
        code = command.wait(LONGEST)
        if code is None:
            fault.wrong.append(f"it did not end within {LONGEST:.0f} s")
            command.send(signal.SIGKILL)
            code = command.wait(LONGEST)
        fault.left += command.orphans(ORPHANS_LEFT)
        command.end_all()
        return code or 0

    def _repeat_and_compare(self, fault: Fault) -> None:
        if not (self._operation.is_done and self._is_there(self._operation.is_done)):
            code = self._end(self._start(True), fault)
            if code:
                fault.wrong.append(f"repeated, it ended with {code}: {self._last_line()}")
        try:
            wrong, left = differences(self._expected, self._found())
        except (OSError, ValueError, AssertionError) as error:
            wrong, left = [f"the results cannot be read: {error or type(error).__name__}"], []
        fault.wrong += wrong
        fault.left += left

    def _reset(self) -> None:
        shutil.rmtree(self._folder)
        shutil.copytree(self._template, self._folder)
        self.log.unlink(missing_ok=True)

    def _start(self, again: bool) -> Command:
        folder, more = str(self._folder), [self._operation.goes_on] if again and self._operation.goes_on else []
        words = [word.replace("{folder}", folder).replace("{server}", self._server) for word in self._operation.words]
        if AGAIN in words:
            place = words.index(AGAIN)
            words[place : place + 1] = more
        environment = {"TMPDIR": f"{folder}/tmp", "FCCLIP_CACHE": f"{folder}/cache", "HOME": folder}
        return self._zygote.start(words, self._folder, self.log, environment)

    def _wait_until(self, command: Command, moment: Moment) -> bool:
        """Wait for the moment; False if the command ends before."""
        while moment.in_work and not self._is_there(self._operation.first):
            if command.wait(TICK) is not None:
                return False
        return command.wait(moment.share * (self.seconds_of_work if moment.in_work else self.seconds)) is None

    def _is_faster(self, seconds: float) -> None:
        """Draw moments from what a run takes now: the machine may have been busier during the first one."""
        if seconds < self.seconds:
            self.seconds_of_work *= seconds / self.seconds
            self.seconds = seconds

    def _phase(self) -> str:
        if self._is_there(self._operation.last):
            return PHASES[2]
        return PHASES[self._is_there(self._operation.first)]

    def _is_there(self, pattern: str) -> bool:
        return next(iter(self._folder.glob(pattern)), None) is not None

    def _found(self) -> dict[str, object]:
        found = contents(self._folder, (*INPUT, *self._operation.varies), self._operation.readers)
        if self._operation.outcome is not None:
            found["outcome"] = self._operation.outcome(self._folder)
        return found

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        return lines[-1][:300] if lines else "it said nothing"
