from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from fcclip.export.products import single_threaded_products


def blas_threads() -> list[int]:
    """Of NumPy's BLAS, and of others that were loaded; OpenCV has brought one that knows no threads."""
    assert np.__version__  # its BLAS is loaded
    libraries = [library for library in ThreadpoolController().info() if library["user_api"] == "blas"]
    return [library["num_threads"] for library in libraries if library.get("threading_layer") != "disabled"]


def set_threads(number: int) -> None:
    """In a thread that ends, so that it keeps no control."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(ThreadpoolController().limit, limits=number, user_api="blas").result()


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = blas_threads()
    set_threads(2)
    assert set(blas_threads()) == {2}
    yield
    assert set(blas_threads()) == {2}
    set_threads(before[0])


def test_the_limit_holds_while_anyone_is_within() -> None:
    with single_threaded_products:
        with single_threaded_products:
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {1}


def test_who_came_first_may_leave_first() -> None:
    entered, left = Event(), Event()

    def come_and_go() -> None:
        with single_threaded_products:
            entered.set()
            left.wait()

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(come_and_go)
        entered.wait()
        with single_threaded_products:
            left.set()
            first.result()
            assert set(blas_threads()) == {1}


def test_threads_leave_it_as_it_was() -> None:
    barrier = Barrier(4)

    def work(number: int) -> set[int]:
        barrier.wait()
        found = set()
        for _ in range(20):
            with single_threaded_products:
                found |= set(blas_threads())
        return found

    with ThreadPoolExecutor(4) as threads:
        assert set.union(*threads.map(work, range(4))) == {1}


def test_the_thread_of_a_caller_may_set_limits_of_its_own_afterwards() -> None:
    with single_threaded_products:
        pass
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        assert set(blas_threads()) == {1}
