"""NumPy's matrix products, kept to the thread that asks for them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import Any

from threadpoolctl import ThreadpoolController


class SingleThreadedProducts:
    """A context in which no product of NumPy has threads of its own, which spin beside ours while they wait for work.

    NumPy knows such a limit for the whole process alone; it holds while any thread is within. threadpoolctl lets only
    the thread that set a limit change it, as long as that thread lives, and who leaves last need not have come first.
    So a thread of its own sets the limit, takes it back and ends.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._within = 0
        self._setter: Any = None
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._setter = ThreadPoolExecutor(1)
                self._limit = self._setter.submit(_limit).result()
            self._within += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._setter.submit(self._limit.restore_original_limits).result()
                self._setter.shutdown()


def _limit() -> Any:
    return ThreadpoolController().limit(limits=1, user_api="blas")


single_threaded_products = SingleThreadedProducts()
