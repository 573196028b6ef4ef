"""Two machines under torchrun, on loopback; one is lost, and the other goes on from the last checkpoint."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.training import write_training_config
from tests.ports import free_port
from tests.tiny import REPOSITORY

ITERATIONS = 60
PATIENCE = 240.0  # seconds


def start_machine(number: int, port: int, config: Path, log: Path) -> subprocess.Popen[bytes]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:2", "--nproc_per_node", "1"]
    torchrun += ["--max-restarts", "3", "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    torchrun += ["--rdzv-id", "test", "--rdzv-conf", f"last_call_timeout=5,is_host={int(number == 0)}"]
    training = ["train_net.py", "--config-file", str(config), "--resume", "DATASETS.TEST", "()"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as output:
        return subprocess.Popen(
            [*torchrun, "--local-addr", "127.0.0.1", *training],
            cwd=REPOSITORY,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[1]) == parent:
            found.append(int(path.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes of a machine by /proc")
def test_a_machine_that_is_lost(tmp_path: Path) -> None:
    settings = {"SOLVER__MAX_ITER": ITERATIONS, "SOLVER__CHECKPOINT_PERIOD": 4, "SOLVER__IMS_PER_BATCH": 4}
    config = write_training_config(tmp_path, **settings)
    log = tmp_path / "first.log"
    port = free_port()
    first = start_machine(0, port, config, log)
    second = start_machine(1, port, config, tmp_path / "second.log")
    try:
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "output" / "last_checkpoint").exists():
            assert first.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        for process in [*children(second.pid), second.pid]:
            os.kill(process, signal.SIGKILL)
        assert first.wait(PATIENCE) == 0, log.read_text()
    finally:
        for machine in (first, second):
            for process in [*children(machine.pid), machine.pid] if machine.poll() is None else ():
                os.kill(process, signal.SIGKILL)
            machine.wait()
    text = log.read_text()
    starts = [int(number) for number in re.findall(r"Starting training from iteration (\d+)", text)]
    assert starts[0] == 0
    assert 0 < starts[-1] < ITERATIONS
    assert starts[-1] % 4 == 0, "it goes on from a checkpoint"
    assert (tmp_path / "output" / "model_final.pth").is_file()
