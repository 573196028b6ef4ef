"""A process that has imported the package and forks itself for every command: they start within milliseconds.

So a moment that is drawn at random falls into the work of a command, and not into Python's start, which writes nothing.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.tiny import REPOSITORY

MODULES = (
    "av",
    "fcclip.public",
    "matplotlib.pyplot",
    "tensorboard.compat",
    *(f"fcclip.commands.{name}" for name in ("data", "export", "predict", "segment", "serve", "train", "video")),
    *(f"fcclip.commands.{name}" for name in ("choices", "segmenting", "training")),
    "fcclip.batch.job",
    "fcclip.data.get",
    "fcclip.data.validation.report",
    "fcclip.evaluation.report.plots",
    "fcclip.export.quantize",
    "fcclip.export.write",
    "fcclip.serving.page",
    "onnxscript",
    "pyarrow.parquet",
    "torch.onnx._internal.exporter._core",
    "uvicorn",
)
QUIET = {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}


class Command:
    """A command that runs in a session of its own; its exit code is asked for with `wait`."""

    def __init__(self, zygote: Zygote, process: int) -> None:
        self._zygote, self.process = zygote, process
        self._code: int | None = None

    def wait(self, seconds: float) -> int | None:
        """The exit code, negative for a signal; None while it runs on after so many seconds."""
        if self._code is None and select.select([self._zygote.answers], [], [], max(0.0, seconds))[0]:
            self._code = int(self._zygote.answers.readline())
        return self._code

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to the process, and to none that it has started; False if it has ended."""
        if self._code is not None:
            return False
        try:
            os.kill(self.process, number)
        except ProcessLookupError:
            return False
        return True

    def orphans(self, seconds: float = 0.0) -> list[str]:
        """What the command has started and is still there after it has ended, and after so many seconds more."""
        end = time.monotonic() + seconds
        while True:
            found = [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal() and self._started(entry)]
            if not found or time.monotonic() >= end:
                return [f"process {entry.name}" for entry in found]
            time.sleep(0.1)

    def end_all(self) -> None:
        """End what is left of the session."""
        for name in self.orphans():
            os.kill(int(name.split()[1]), signal.SIGKILL)

    def _started(self, entry: Path) -> bool:
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            return False
        return int(session) == self.process and int(entry.name) != self.process and state != "Z"


class Zygote:
    """Starts commands; a context manager.

    Args:
        modules: what is imported before.
    """

    def __init__(self, modules: Sequence[str] = MODULES) -> None:
        environment = {**os.environ, **QUIET, "PYTHONPATH": str(REPOSITORY)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote", *modules],
            bufsize=0, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self.answers = self._process.stdin, self._process.stdout

    def start(self, words: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]) -> Command:
        """Start `fcclip ...`, or a script of the repository, in a folder; what it says goes to the end of `log`."""
        order = {"words": list(words), "folder": str(folder), "log": str(log), "environment": dict(environment)}
        self._orders.write(json.dumps(order).encode() + b"\n")
        return Command(self, int(self.answers.readline()))

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._orders.close()
        self._process.wait()
        self.answers.close()


def _take_orders() -> list[str]:
    """Fork for every order; the words of the command, in its own process."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # what is there is shared with all commands
    for line in sys.stdin:
        order = json.loads(line)
        process = os.fork()
        if not process:
            return _become(order)
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
    return []


def _become(order: Mapping[str, object]) -> list[str]:
    os.setsid()
    os.chdir(str(order["folder"]))
    os.environ.update(order["environment"])  # type: ignore[call-overload]
    tempfile.tempdir = None
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    return list(order["words"])  # type: ignore[call-overload]


def _run(words: list[str]) -> int:
    """As Python itself would; the exit code."""
    sys.argv = words
    try:
        if words[0] == "fcclip":
            runpy.run_module("fcclip", run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(str(REPOSITORY / words[0]), run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _leave() -> None:
    """End at once: without taking all modules apart, which takes seconds in a process that was forked."""
    sys.stdout.flush()
    os._exit(_code)


if __name__ == "__main__":
    _code = 1
    atexit.register(_leave)  # before all others, so that it comes last
    if given := _take_orders():
        _code = _run(given)
