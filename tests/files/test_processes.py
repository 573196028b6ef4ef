"""What a killed process has started does not outlive it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcclip.files.processes import is_alive
from tests.tiny import REPOSITORY

POOL = """
import os, sys, time
from fcclip.data.prepare.jobs import run_jobs

def job(number):
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
    time.sleep(0.1)

run_jobs(job, range(1000), 2, "jobs")
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_the_processes_of_a_pool_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TQDM_DISABLE": "1"}
    with subprocess.Popen([sys.executable, "-c", POOL, str(tmp_path)], env=environment) as main:
        while len(list(tmp_path.iterdir())) < 2 and main.poll() is None:
            time.sleep(0.01)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        assert all(map(is_alive, workers))
        main.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while any(map(is_alive, workers)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(is_alive, workers))
    assert len(workers) == 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only there it can be told")
def test_a_process_that_nobody_has_asked_how_it_ended_is_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert is_alive(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is there still
        os.kill(child.pid, 0)
        assert not is_alive(child.pid)
