"""The writers: what is not tried by a whole training."""

import sys
from types import SimpleNamespace

import pytest
from detectron2.utils.events import EventStorage

from fcclip.config import get_cfg
from fcclip.engine.writers import ProgressWriter, WandbWriter, build_writers, trim_metrics


class FakeRun:
    def __init__(self):
        self.logged, self.finished = [], False

    def log(self, values, step):
        self.logged.append((step, values))

    def finish(self):
        self.finished = True


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    cfg.OUTPUT_DIR = str(tmp_path / "night_run")
    cfg.WANDB.ENABLED = True
    return cfg


def test_weights_and_biases_gets_every_number_once(cfg, monkeypatch):
    run, asked = FakeRun(), {}
    fake = SimpleNamespace(init=lambda **settings: asked.update(settings) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    writer = WandbWriter(cfg)
    assert (asked["project"], asked["name"]) == ("fcclip", "night_run")
    with EventStorage(0) as storage:
        storage.put_scalars(total_loss=3.0, lr=0.1, smoothing_hint=False)
        writer.write()
        storage.iter = 4
        storage.put_scalar("total_loss", 2.0, smoothing_hint=False)
        writer.write()
    writer.close()
    assert run.logged == [(0, {"total_loss": 3.0, "lr": 0.1}), (4, {"total_loss": 2.0})]
    assert run.finished


def test_weights_and_biases_must_be_installed(cfg, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError, match="pip install wandb"):
        build_writers(cfg, 10)


def test_nothing_is_said_before_the_first_loss_and_after_the_end(caplog):
    writer = ProgressWriter(max_iter=3, images_per_iteration=2)
    with EventStorage(0) as storage, caplog.at_level("INFO", logger="fcclip"):
        writer.write()
        storage.iter = 3
        storage.put_scalars(total_loss=1.0, lr=0.1)
        writer.write()
    assert not caplog.records


def test_lines_that_a_resumed_training_writes_again_are_taken_out(tmp_path):
    path = tmp_path / "metrics.json"
    lines = [f'{{"iteration": {iteration}, "total_loss": 1.0}}' for iteration in (1, 3, 5, 7)]
    path.write_text("\n".join([*lines, '{"iterat']))
    trim_metrics(path, 5)
    assert path.read_text().splitlines() == lines[:2]
    with path.open("a") as writer:
        trim_metrics(path, 0)
        writer.write("first\n")
    assert path.read_text() == "first\n"
    trim_metrics(tmp_path / "none.json", 0)
