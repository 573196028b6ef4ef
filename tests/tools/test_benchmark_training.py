import json

import pytest
import torch

from tests.engine.training import write_training_config
from tools import benchmark_training as benchmark


@pytest.fixture
def small(tmp_path) -> list[str]:
    return ["--config-file", str(write_training_config(tmp_path)), "--size", "64", "--batch", "2", "--steps", "1"]


def test_parts_of_a_step(small, tmp_path, capsys) -> None:
    benchmark.main([*small, "--json", str(tmp_path / "parts.json")])
    assert "pixel decoder" in capsys.readouterr().out
    figures = json.loads((tmp_path / "parts.json").read_text())
    assert list(figures["parts"]) == list(benchmark.PARTS)
    assert 0 < sum(figures["parts"].values()) < figures["seconds"]


def test_options_are_compared(small, tmp_path, capsys, monkeypatch) -> None:
    def peaks(arguments: list[str]) -> dict[str, float]:
        assert arguments[0] == "--config-file", "the other processes get the same arguments"
        return dict.fromkeys(benchmark.VARIANTS, 100.0)

    monkeypatch.setattr(benchmark, "peaks_in_processes", peaks)
    benchmark.main([*small, "--compare", "--json", str(tmp_path / "options.json")])
    lines = capsys.readouterr().out.splitlines()
    assert [name for name in benchmark.VARIANTS if any(name in line for line in lines)] == list(benchmark.VARIANTS)
    rows = {row["name"]: row for row in json.loads((tmp_path / "options.json").read_text())["rows"]}
    for name in benchmark.EQUAL:
        assert rows[name]["first_error"] == 0
        assert rows[name]["last_error"] < 1e-3
    for name in ("tower in bfloat16", "all on"):
        assert 0 < rows[name]["first_error"] < 0.1
    assert all(len(row["seconds"]) == 1 for row in rows.values())


def test_a_peak_is_printed_last(small, capsys) -> None:
    benchmark.main(["--peak-of", "all on", *small])
    assert float(capsys.readouterr().out.split()[-1]) > 0


def test_an_option_that_changes_the_losses_is_refused(small, monkeypatch) -> None:
    counter = iter(range(100))
    monkeypatch.setattr(benchmark, "seeded_losses", lambda step, batch: [torch.ones(2) + next(counter)])
    monkeypatch.setattr(benchmark, "TrainingStep", lambda cfg: lambda batch: {})
    options = benchmark.parse(small)
    cfg = benchmark.load(options.config_file, options.opts, on_gpu=False)
    with pytest.raises(RuntimeError, match='the losses with "activation checkpointing" are off by 2'):
        benchmark.compare(cfg, [], 1, dict.fromkeys(benchmark.VARIANTS, 1.0))


def test_every_option_is_a_key_that_is_off_by_default(small) -> None:
    options = benchmark.parse(small)
    cfg = benchmark.load(options.config_file, options.opts, on_gpu=False)
    assert benchmark.variant(cfg, benchmark.BASE) == cfg
    changed = benchmark.variant(cfg, "all on")
    assert changed.SOLVER.FUSED_ADAMW
    assert changed.MODEL.SEM_SEG_HEAD.ACTIVATION_CHECKPOINTING
    assert changed.MODEL.FC_CLIP.TRAINING_TOWER_DTYPE == "bfloat16"
