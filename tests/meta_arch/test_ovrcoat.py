from typing import Any

import pytest
import torch
from detectron2.structures import Instances

from fcclip import OVRCOAT
from fcclip.engine.optimizer import build_optimizer
from fcclip.files.checkpoints import CLIP_PREFIX
from fcclip.inference.instance import InstanceInference
from fcclip.inference.masks import Band
from tests.seeded import seed_by_name
from tests.tiny import tiny_cfg, tiny_model

IMAGE = {"image": torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0)).float()}


TUNED = {
    "MODEL__META_ARCHITECTURE": "OVRCOAT",
    "MODEL__BACKBONE__FREEZE": False,
    "MODEL__OVRCOAT__DIST_WEIGHT": 0.0,
    "TRAIN__LOSSES": ["oov_ce", "masks", "labels"],
}


def results(**overrides):
    model = tiny_model(**overrides)
    seed_by_name(model)
    return model([IMAGE])[0]


def test_with_no_trust_and_plain_scores_it_is_fcclip() -> None:
    plain = results()
    ours = results(MODEL__META_ARCHITECTURE="OVRCOAT", MODEL__OVRCOAT__INSTANCES_BY_LOGIT=False)
    assert torch.equal(plain["sem_seg"], ours["sem_seg"])
    assert torch.equal(plain["panoptic_seg"][0], ours["panoptic_seg"][0])
    assert torch.equal(plain["instances"].scores, ours["instances"].scores)


def test_trust_in_clip_takes_from_void_in_any_fcclip() -> None:
    plain, trusting = results(), results(MODEL__OVRCOAT__CLIP_TRUST_WEIGHT=0.5)
    published = results(MODEL__META_ARCHITECTURE="OVRCOAT", MODEL__OVRCOAT__CLIP_TRUST_WEIGHT=0.5)
    assert (trusting["sem_seg"].sum(dim=0) > plain["sem_seg"].sum(dim=0)).all()
    assert torch.equal(trusting["sem_seg"], published["sem_seg"])


def test_instances_are_scored_by_the_mean_logit_inside() -> None:
    class_logits, mask = torch.tensor([[2.0, 0.0]]), torch.tensor([[[3.0, 5.0], [-2.0, -9.0]]])
    inference = InstanceInference(class_logits, (2, 2), 1, by_logit=True)
    inference.update(Band(0, 2, mask, mask.sigmoid(), is_floored=False))
    expected = 4.0 * class_logits.softmax(dim=-1)[0, 0]
    torch.testing.assert_close(inference.result().scores, expected[None])


@pytest.fixture(scope="module")
def tuned() -> OVRCOAT:
    model = tiny_model(**TUNED)
    seed_by_name(model)
    return model


def training_losses(model: OVRCOAT, **settings: Any) -> dict[str, torch.Tensor]:
    """Losses of a step in which nothing is dropped, with other settings of the model."""
    truth = Instances((64, 96))
    truth.gt_masks = torch.zeros(2, 64, 96, dtype=torch.bool)
    truth.gt_masks[0, :32], truth.gt_masks[1, 32:] = True, True
    truth.gt_classes = torch.tensor([3, 90])
    model.zero_grad()
    model.train()
    model.backbone.eval()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setattr(model, name, value)
        losses = model([{**IMAGE, "instances": truth}])
    model.eval()
    return losses


def trained_of_clip(model: OVRCOAT) -> set[str]:
    """Names of the parts of the CLIP that got a gradient other than zero."""
    found = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any() and CLIP_PREFIX in n}
    return {".".join(name.removeprefix(CLIP_PREFIX).split(".")[:3]) for name in found}


TRUNK = {"visual.trunk.stem", "visual.trunk.stages"}


def test_the_trunk_and_the_temperature_learn_at_a_tenth_of_the_rate(tuned) -> None:
    sum(training_losses(tuned).values()).backward()
    assert trained_of_clip(tuned) == {*TRUNK, "logit_scale"}
    optimizer = build_optimizer(tiny_cfg(**TUNED, SOLVER__BASE_LR=1.0), tuned)
    rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    names = {name: rates[parameter] for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert {rate for name, rate in names.items() if name.startswith(CLIP_PREFIX)} == {0.1}
    assert {rate for name, rate in names.items() if not name.startswith(CLIP_PREFIX)} == {1.0}
    assert not any(
        ".text" in name or "transformer.resblocks" in name or "head." in name for name in names if CLIP_PREFIX in name
    )


def test_gradients_of_the_mask_generator_may_stop_before_the_trunk(tuned) -> None:
    mask_generator = ["masks", "labels"]
    sum(training_losses(tuned, counted_losses=mask_generator).values()).backward()
    assert trained_of_clip(tuned) == TRUNK
    sum(training_losses(tuned, counted_losses=mask_generator, head_tunes_clip=False).values()).backward()
    assert trained_of_clip(tuned) == set()


def test_losses_that_count_are_chosen_and_the_teacher_is_asked_where_it_has_a_weight(tuned) -> None:
    weights = {"rc_loss": 0.1, "dist_loss": 0.02}
    assert training_losses(tuned, counted_losses=["oov_ce"], teacher_weights=weights).keys() == {
        "loss_oov_ce",
        *weights,
    }
    losses = training_losses(tuned, counted_losses=["masks"])
    assert {name.rstrip("_0123456789") for name in losses} == {"loss_mask", "loss_dice"}


def test_paths_are_dropped_in_training_alone(tuned) -> None:
    modes = []
    for mode in (True, False):
        tuned.train(mode)
        modes.append({block.training for block in tuned.backbone.clip_model.visual.trunk.stages[0].blocks})
    assert modes == [{True}, {False}]
    frozen = tiny_model(MODEL__META_ARCHITECTURE="OVRCOAT").train()
    assert not any(module.training for module in frozen.backbone.clip_model.modules())


def test_a_training_of_nothing_is_refused() -> None:
    model = tiny_model(MODEL__META_ARCHITECTURE="OVRCOAT")
    with pytest.raises(ValueError, match=r"nothing would be trained: set MODEL\.BACKBONE\.FREEZE False, or add labels"):
        training_losses(model)
    losses = training_losses(model, counted_losses=["labels"])
    assert "loss_ce" in losses


def test_a_resnet_is_refused() -> None:
    with pytest.raises(ValueError, match="OVRCOAT needs a ConvNeXt CLIP, and .* pools by attention; set MODEL"):
        tiny_model("resnet", **TUNED)
