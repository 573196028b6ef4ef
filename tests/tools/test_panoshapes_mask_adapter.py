"""The table of the Mask-Adapter: which trainings it starts, and that it measures nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from fcclip import get_cfg
from fcclip.zoo import find_pretrained
from tools import panoshapes_mask_adapter as tool
from tools.panoshapes_claims import Setting, Values

WARM_UP, MIXED = tool.PHASES.values()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The options of the trainings that were started, each of which leaves a checkpoint."""
    started: list[dict[str, str]] = []

    def start(config: Path, mode: str, options: list[str]) -> None:
        assert (config.is_file(), mode) == (True, "--resume")
        given = dict(zip(options[::2], options[1::2], strict=True))
        started.append(given)
        folder = Path(given["OUTPUT_DIR"])
        folder.mkdir(parents=True)
        (folder / "model_final.pth").touch()

    monkeypatch.setattr(tool, "start", start)
    return started


class FakeBench:
    """Says of a trained model the number of its seed, of a named one 7, plus COAT's weight."""

    def __init__(self) -> None:
        self.asked: list[Setting] = []

    def measure(self, setting: Setting) -> Values:
        self.asked.append(setting)
        path = Path(setting.model)
        value = float(path.parent.name) if path.is_file() else 7.0
        return dict.fromkeys((*tool.OVERALL, *tool.GROUPS), value + setting.clip_trust)


def test_the_second_phase_begins_with_the_first_and_neither_is_trained_twice(
    trainings: list[dict[str, str]], tmp_path: Path
) -> None:
    found = tool.train([1, 2], tmp_path, ["SOLVER.MAX_ITER", "5"])
    assert found == {
        phase: [f"{config}/{seed}/model_final.pth" for seed in (1, 2)] for phase, config in tool.PHASES.items()
    }
    assert tool.train([1, 2], tmp_path, []) == found
    assert [training["SEED"] for training in trainings] == ["1", "1", "2", "2"]
    assert {training["SOLVER.MAX_ITER"] for training in trainings} == {"5"}
    shipped = str(find_pretrained(tool.BASE).weights)
    warmed = [str(tmp_path / WARM_UP / seed / "model_final.pth") for seed in "12"]
    assert [training["MODEL.WEIGHTS"] for training in trainings] == [shipped, warmed[0], shipped, warmed[1]]


def test_the_phases_differ_in_what_they_see() -> None:
    seen = []
    for config in tool.PHASES.values():
        cfg = get_cfg()
        cfg.merge_from_file(str(tool.REPOSITORY / "configs" / "panoshapes" / f"{config}.yaml"))
        seen.append((cfg.MODEL.MASK_ADAPTER.WARM_UP, cfg.MODEL.MASK_ADAPTER.NUM_GT_MASKS, cfg.SOLVER.MAX_ITER))
    assert seen == [(True, 32, 400), (False, 16, 200)]


def test_the_tables_have_means_and_nothing_is_measured_twice(trainings: list[dict[str, str]], tmp_path: Path) -> None:
    models = tool.train([1, 3], tmp_path, [])
    bench = FakeBench()
    tables = tool.tables(tool.Record(bench, tmp_path), models)  # type: ignore[arg-type]
    assert [row["pooling"] for row in tables["all"][:3]] == [tool.MEAN, *tool.PHASES]
    assert [row["PQ unseen"] for row in tables["all"][:3]] == ["7.0", "2.0 ± 1.4", "2.0 ± 1.4"]
    assert [row["unseen pair"] for row in tables["groups"][:2]] == ["7.0", "2.0 ± 1.4"]
    assert [row["mIoU"] for row in tables["coat"]] == ["2.0 ± 1.4", "2.2 ± 1.4", "2.5 ± 1.4"]
    asked = len(bench.asked)
    assert asked == len(set(bench.asked))
    assert tool.tables(tool.Record(bench, tmp_path), models) == tables  # type: ignore[arg-type]
    assert len(bench.asked) == asked
