"""Ending a training between two iterations, when it is told to by SIGTERM or Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fcclip.engine.errors import Terminated

NOTICE = b"\nstopping after this iteration, which is saved; once more stops at once\n"


class StopRequest:
    """Notes the first SIGTERM or Ctrl-C; the second one ends the program at once.

    Attributes:
        error: what is to be raised once the work is put away; None while nobody asked to stop.
    """

    def __init__(self) -> None:
        self.error: type[KeyboardInterrupt] | None = None
        self._at_once = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, signals are noted; in threads other than the main one nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, work goes on that may take hours and keeps what it has done: the first signal ends it."""
        if self.error is not None:
            raise self.error
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        error = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if self._at_once or self.error is not None:
            raise error
        self.error = error
        os.write(2, NOTICE)  # not through the log, which may be in the middle of a line
