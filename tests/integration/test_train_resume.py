"""train_net.py, killed at bad moments and started again, ends with the same weights as an undisturbed run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fcclip.engine.checkpoint import read_checkpoint
from tests.engine.training import write_training_config
from tests.tiny import REPOSITORY

# Runs train_net.py, but the process dies when it has written half of the second checkpoint.
KILLED_WHILE_SAVING = """
import io, os, runpy, signal, sys
import torch
save, calls = torch.save, []
def save_half(state, file):
    calls.append(1)
    if len(calls) < 2:
        return save(state, file)
    whole = io.BytesIO()
    save(state, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = save_half
sys.argv[0] = "train_net.py"
runpy.run_path("train_net.py", run_name="__main__")
"""


def command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "train_net.py", "--config-file", str(config), *words]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def trained(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "output" / "model_final.pth")["model"]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(command(write_training_config(folder, DATASETS__TEST=())))
    assert done.returncode == 0, done.stderr
    assert "iter: 8/8" in done.stdout
    return trained(folder)


def test_killed_in_the_middle_of_writing_a_checkpoint(tmp_path, undisturbed):
    config = write_training_config(tmp_path, DATASETS__TEST=())
    killed = run([sys.executable, "-c", KILLED_WHILE_SAVING, "--config-file", str(config)])
    assert killed.returncode == -signal.SIGKILL
    output = tmp_path / "output"
    assert sorted(path.name for path in output.glob("model_*.pth")) == ["model_0000002.pth"]
    assert len(list(output.glob(".model_*.pth"))) == 1, "the half that was written has another name"

    again = run(command(config, "--resume"))
    assert again.returncode == 0, again.stderr
    assert "Starting training from iteration 3" in again.stdout
    assert not list(output.glob(".model_*.pth"))
    assert_same(trained(tmp_path), undisturbed)


def test_killed_between_checkpoints(tmp_path, undisturbed):
    config = write_training_config(tmp_path, DATASETS__TEST=())
    with subprocess.Popen(
        command(config), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run_:
        while not (tmp_path / "output" / "last_checkpoint").exists():
            time.sleep(0.01)
        os.kill(run_.pid, signal.SIGKILL)
    again = run(command(config, "--resume"))
    assert again.returncode == 0, again.stderr
    assert_same(trained(tmp_path), undisturbed)


def test_mistakes_end_with_one_sentence(tmp_path):
    config = write_training_config(tmp_path)
    wrong_key = run(command(config, "SOLVER.MAX_ITERS", "3"))
    assert wrong_key.returncode == 2
    assert "the configuration cannot be read: Non-existent key: SOLVER.MAX_ITERS" in wrong_key.stderr
    assert "Traceback" not in wrong_key.stderr
