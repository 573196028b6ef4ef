"""The table of zero-shot designs: which trainings and evaluations it starts, and what it makes of their results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fcclip import get_cfg
from tools import panoshapes_zero_shot as tool

Command = list[str]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[Command]:
    """The commands that were started, each of which writes the results and checkpoints of a training."""
    started: list[Command] = []

    def run(command: Command, check: bool) -> None:
        started.append(command)
        folder = Path(command[command.index("OUTPUT_DIR") + 1])
        folder.mkdir(parents=True, exist_ok=True)
        seed = float(command[command.index("SEED") + 1])
        if "--resume" in command:
            for name in ("model_0000004.pth", "model_0000009.pth", "model_final.pth"):
                (folder / name).touch()
            values = [{"iteration": 9, "total_loss": 1.0, **{f"sem_seg/{metric}": seed for metric in tool.CURVES}}]
            (folder / "metrics.json").write_text("\n".join(map(json.dumps, values)))
        else:
            (folder / tool.RESULTS).parent.mkdir(parents=True)
            results = {"sem_seg": dict.fromkeys(tool.METRICS, seed)}
            (folder / tool.RESULTS).write_text(json.dumps({"results": results}))

    monkeypatch.setattr(tool.subprocess, "run", run)
    return started


@pytest.mark.parametrize("name", tool.ROWS)
def test_the_configuration_of_a_row_takes_its_options(name: str) -> None:
    row = tool.ROWS[name]
    cfg = get_cfg()
    cfg.merge_from_file(str(tool.REPOSITORY / "configs" / "panoshapes" / f"{row.config}.yaml"))
    cfg.merge_from_list(list(row.options))
    assert (tool.RESULTS.parent.name,) == cfg.DATASETS.TEST
    assert {row.starts_from, row.evaluates} <= {"", *tool.ROWS}


def test_results_that_are_there_are_not_made_again(commands: list[Command], tmp_path: Path) -> None:
    first = tool.run("ZegCLIP", 3, tmp_path, ["SOLVER.MAX_ITER", "10"], has_curve=True)
    assert first == dict.fromkeys(tool.METRICS, 3.0)
    assert tool.run("ZegCLIP", 3, tmp_path, [], has_curve=True) == first
    training, evaluation = commands
    assert "--resume" in training
    assert training[training.index("SOLVER.MAX_ITER") + 1] == "10"
    assert training[training.index("TEST.EVAL_PERIOD") + 1] == "1"
    assert training[training.index("DATASETS.TEST") + 1] == tool.CURVE_SET
    assert "--eval-only" in evaluation
    assert "DATASETS.TEST" not in evaluation
    assert evaluation[-1].endswith("model_final.pth")


def test_a_transductive_training_starts_half_way_and_a_trained_model_is_evaluated(
    commands: list[Command], tmp_path: Path
) -> None:
    for name in ("ZegCLIP, transductive", "ZegCLIP, seen penalty 0.1"):  # what they need is trained first, once
        tool.run(name, 1, tmp_path, [], has_curve=True)
    weights = [Path(command[command.index("MODEL.WEIGHTS") + 1]).name for command in commands[1:]]
    assert weights == ["model_final.pth", "model_0000004.pth", "model_final.pth", "model_final.pth"]
    assert ["--eval-only" in command for command in commands] == [False, True, False, True, True]


def test_the_table_tells_mean_and_deviation(
    commands: list[Command], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tool", "--rows", "ZegCLIP", "--output", str(tmp_path), "--seeds", "1", "2", "3"])
    tool.main()
    table = (tmp_path / "table.md").read_text()
    assert "ZegCLIP" in table
    assert tool.mean_and_deviation([1.0, 2.0, 3.0]) in table
    assert len(commands) == 6
    assert (tmp_path / "curves.png").stat().st_size > 1000
