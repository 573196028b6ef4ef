"""Work that goes on beside the network: drawing and writing what was found."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

WAITING = 16  # jobs that may wait for each thread; each holds a picture and its result


class Background:
    """Runs jobs on threads while the caller goes on; a context manager that waits for all of them at its end.

    When too many jobs wait, `submit` does too, so that memory stays bounded. What a job raises is told where `submit`
    is called, or at the end.

    Args:
        on_error: gets the name of a job that failed, and the error; what it raises ends the work.
        threads: jobs at a time; with one, they run in their order.
    """

    def __init__(self, on_error: Callable[[str, Exception], None], threads: int = 1) -> None:
        self._on_error = on_error
        self._most = WAITING * threads
        self._pool = ThreadPoolExecutor(threads)
        self._jobs: deque[tuple[str, Future[None]]] = deque()

    def submit(self, name: str, job: Callable[[], None]) -> None:
        """Run a job soon; the errors of jobs that have ended are told first."""
        while self._jobs and (len(self._jobs) >= self._most or self._jobs[0][1].done()):
            self._finish_first()
        self._jobs.append((name, self._pool.submit(job)))

    def _finish_first(self) -> None:
        name, job = self._jobs.popleft()
        try:
            job.result()
        except Exception as error:  # noqa: BLE001 - who gave the job is told of any
            self._on_error(name, error)

    def __enter__(self) -> Background:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while self._jobs:
                self._finish_first()
        finally:
            self._pool.shutdown(cancel_futures=True)
