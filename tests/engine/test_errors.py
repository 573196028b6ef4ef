"""How commands end: one sentence, an exit code, and no traceback unless it is asked for."""

import os
import signal
from collections.abc import Iterator

import pytest
from torch.multiprocessing import ProcessRaisedException

from fcclip.engine.errors import INTERRUPTED, TERMINATED, run_command, sentence_of

NUL_IN_NAME = "no file can have a NUL byte in its name; check the paths"


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("the batch is empty;\n  add images"), "the batch is empty; add images"),
        (PermissionError(13, "Permission denied", "/data/out"), "Permission denied: /data/out"),
        (
            KeyError("res9"),
            "the program failed (KeyError: 'res9'); run it again with --debug and report what it shows",
        ),
        (
            ProcessRaisedException("-- Process 1 terminated:\nTraceback\n  line\nValueError: no: 2 GPUs", 1, 7),
            "no: 2 GPUs",
        ),
        (ValueError("embedded null byte"), NUL_IN_NAME),
        (ValueError("lstat: embedded null character in path"), NUL_IN_NAME),
    ],
)
def test_an_error_is_one_sentence(capsys, error, sentence):
    assert sentence_of(error) == sentence
    assert run_command("train_net.py", lambda: fail(error)) == 1
    assert capsys.readouterr().err == f"train_net.py: error: {sentence}\n"
    with pytest.raises(type(error)):
        run_command("train_net.py", lambda: fail(error), debug=True)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests are a background job, which a shell lets ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)])
def test_signals_end_the_work_and_are_handled_as_before_afterwards(capsys, number, code):
    before = signal.getsignal(signal.SIGTERM)
    put_away = []

    def work():
        try:
            os.kill(os.getpid(), number)
        finally:
            put_away.append(True)

    assert run_command("tool", work) == code
    assert put_away
    assert capsys.readouterr().err == "tool: interrupted; what was finished before is kept\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_exit_code_is_that_of_the_work():
    assert run_command("tool", lambda: None) == 0
    assert run_command("tool", lambda: 3) == 3
