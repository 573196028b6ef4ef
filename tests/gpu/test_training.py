"""Training on the GPU: the losses of the CPU, mixed precision, and a run that goes on after a crash."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode

from tests.engine.runs import fixed_points, train
from tests.engine.training import training_cfg

GPU = {"MODEL__DEVICE": "cuda", "DATASETS__TEST": (), "INPUT__IMAGE_SIZE": 64}
HALF = {**GPU, "SOLVER__AMP__ENABLED": True}
SAVINGS: dict[str, dict[str, Any]] = {
    "tower in bfloat16": {"MODEL__FC_CLIP__TRAINING_TOWER_DTYPE": "bfloat16"},
    "activation checkpointing": {"MODEL__SEM_SEG_HEAD__ACTIVATION_CHECKPOINTING": True},
    "fused AdamW": {"SOLVER__FUSED_ADAMW": True},
    "two parts of a batch": {"SOLVER__ACCUMULATION_STEPS": 2},
}


def totals(cfg: CfgNode, **how: Any) -> list[float]:
    """The total loss of each step of a run."""
    return [losses["total_loss"] for losses in train(cfg, **how).values()]


@pytest.fixture
def same_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU draws other random numbers than the CPU."""
    monkeypatch.setattr(torch, "rand", fixed_points)


@pytest.mark.usefixtures("same_points")
def test_the_losses_are_those_of_the_cpu(tmp_path: Path) -> None:
    gpu, cpu = (
        totals(training_cfg(tmp_path / device, **{**GPU, "MODEL__DEVICE": device, "SOLVER__MAX_ITER": 4}))
        for device in ("cuda", "cpu")
    )
    assert gpu == pytest.approx(cpu, rel=2e-3)


@pytest.mark.usefixtures("same_points")
@pytest.mark.parametrize("saving", SAVINGS)
def test_savings_keep_the_losses(saving: str, tmp_path: Path) -> None:
    plain = totals(training_cfg(tmp_path / "plain", **HALF, SOLVER__MAX_ITER=3))
    saved = totals(training_cfg(tmp_path / "saved", **{**HALF, "SOLVER__MAX_ITER": 3, **SAVINGS[saving]}))
    assert saved == pytest.approx(plain, rel=0.03)


def test_mixed_precision_learns_and_goes_on_after_a_crash(tmp_path: Path) -> None:
    whole = totals(training_cfg(tmp_path / "whole", **HALF))
    cfg = training_cfg(tmp_path / "cut", **HALF)
    before = totals(cfg, crash_at=5)
    after = totals(cfg, resume=True)
    assert len(after) == 5  # the last checkpoint was that of step 3
    assert before[:3] + after == pytest.approx(whole, rel=0.03)
    assert all(math.isfinite(loss) for loss in whole)
    assert whole[-1] < whole[0]
