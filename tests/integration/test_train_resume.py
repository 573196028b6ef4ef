"""train_net.py, killed at bad moments and started again, ends with the same weights as an undisturbed run."""

import json
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from fcclip.files.checkpoints import read_checkpoint
from tests.engine.training import DATASET, write_training_config
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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    done = run(command(write_training_config(folder), "DATASETS.TEST", "()"))
    assert done.returncode == 0, done.stderr
    assert "iter: 8/8" in done.stdout
    return folder


def test_killed_twice_and_resumed_twice(tmp_path, undisturbed):
    """Once in the middle of writing a checkpoint, once between two."""
    config = write_training_config(tmp_path, DATASETS__TEST=())
    output = tmp_path / "output"
    killed = run([sys.executable, "-c", KILLED_WHILE_SAVING, "--config-file", str(config)])
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in output.glob("model_*.pth")] == ["model_0000002.pth"]
    assert len(list(output.glob(".model_*.pth"))) == 1, "the half that was written has another name"

    with subprocess.Popen(
        command(config, "--resume"), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as second:
        while (output / "last_checkpoint").read_text() == "model_0000002.pth" and second.poll() is None:
            time.sleep(0.01)
        second.send_signal(signal.SIGKILL)
    assert not list(output.glob(".model_*.pth")), "the leftover was removed"

    last = run(command(config, "--resume"))
    assert last.returncode == 0, last.stderr
    # 8 if this process slept through the time between the last two checkpoints.
    assert re.search("Starting training from iteration (6|8)", last.stdout)
    expected, found = trained(undisturbed), trained(tmp_path)
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], weights) for name, weights in expected.items())


def test_a_checkpoint_is_evaluated(undisturbed):
    weights = str(undisturbed / "output" / "model_final.pth")
    done = run(command(undisturbed / "config.yaml", "--eval-only", "MODEL.WEIGHTS", weights))
    assert done.returncode == 0, done.stderr
    assert "trainable 111,505" in done.stdout
    results = json.loads((undisturbed / "output" / "inference" / DATASET / "results.json").read_text())
    assert "PQ" in json.dumps(results)


def test_mistakes_end_with_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train_net.py", "--config-file", "gone.yaml"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(REPOSITORY / "train_net.py"), run_name="__main__")
    assert stopped.value.code == 2
    assert "error: there is no configuration file gone.yaml" in capsys.readouterr().err
