"""Learning rates and decays of the zero-shot systems, as their published configurations give them."""

import json
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode

from fcclip import get_cfg
from fcclip.engine.optimizer import parameter_groups
from fcclip.engine.schedule import build_lr_scheduler
from tests.shared import SHARED, needs_shared
from tests.tiny import REPOSITORY
from tests.zero_shot import zero_shot_model

CONFIGS = REPOSITORY / "configs" / "zero_shot"


def solver(path: str) -> CfgNode:
    cfg = get_cfg()
    cfg.merge_from_file(str(CONFIGS / path))
    return cfg


def rates(cfg: CfgNode, wanted: set[int]) -> dict[int, float]:
    """The learning rate at some iterations, stepping through all of them."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.SOLVER.BASE_LR)
    scheduler = build_lr_scheduler(cfg, optimizer)
    found = {}
    for iteration in range(max(wanted) + 1):
        if iteration in wanted:
            found[iteration] = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
    return found


@needs_shared
@pytest.mark.parametrize(
    ("path", "total"),
    [("zegclip/voc12_inductive.yaml", "20000"), ("cascade_clip/voc12_transductive.yaml", "10000")],
)
def test_published_rates(path, total) -> None:
    recorded = json.loads((SHARED / "parity/zegclip_cascade/optim_zegclip.json").read_text())["lr_at_iter"][total]
    found = rates(solver(path), {int(iteration) for iteration in recorded})
    for iteration, rate in recorded.items():
        assert found[int(iteration)] == pytest.approx(rate, rel=1e-9), iteration


@pytest.mark.parametrize("architecture", ["ZegCLIP", "CascadeCLIP"])
def test_one_group_with_decay_everywhere(architecture) -> None:
    """Norms and biases are decayed too, and the prompts in the backbone learn as fast as the rest."""
    model = zero_shot_model(architecture)
    groups: list[dict[str, Any]] = parameter_groups(solver("zegclip/voc12_inductive.yaml"), model)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(2e-4, 0.01)}
    assert sum(len(group["params"]) for group in groups) == len(trainable) == (74 if architecture == "ZegCLIP" else 212)


def test_other_schedules_are_detectron2s() -> None:
    cfg = get_cfg()
    cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupPolyLR"
    assert rates(cfg, {0, 10})[10] > 0
    cfg.SOLVER.LR_SCHEDULER_NAME = "Nonsense"
    with pytest.raises(ValueError, match="Nonsense"):
        rates(cfg, {0})
