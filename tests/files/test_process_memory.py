import subprocess
import sys

import numpy as np
import pytest

from fcclip.files import process_memory
from fcclip.files.process_memory import peak_bytes, resident_bytes
from tests.tiny import REPOSITORY

MB = 10**6


def test_the_peak_stays_when_memory_is_given_back() -> None:
    before = resident_bytes()
    block = np.ones(100 * MB, np.uint8)
    held = resident_bytes()
    del block
    assert held - before == pytest.approx(100 * MB, abs=20 * MB)
    assert peak_bytes() > 0.95 * held  # the system counts in pieces
    assert resident_bytes() < held - 50 * MB


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it by /proc")
def test_a_peak_is_not_that_of_the_process_that_started_it() -> None:
    block = np.ones(400 * MB, np.uint8)
    told = subprocess.run(
        [sys.executable, "-c", "from fcclip.files.process_memory import peak_bytes; print(peak_bytes())"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 5 * MB < int(told.stdout) < 300 * MB < block.nbytes


def test_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_memory, "_told", lambda key: 0)
    assert 10 * MB < peak_bytes() == resident_bytes() < 10**12
