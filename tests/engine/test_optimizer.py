"""Parameter groups, clipping and precision by their published rules."""

import copy

import pytest
import torch
from torch import nn

from fcclip.config import get_cfg
from fcclip.engine.optimizer import build_optimizer, clip_gradients, load_optimizer_state, parameter_groups, trainable
from fcclip.engine.precision import Precision
from tests.tiny import tiny_cfg, tiny_model


@pytest.fixture
def cfg():
    cfg = get_cfg()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = 1e-4, 0.05
    return cfg


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "norm": nn.BatchNorm2d(4)})
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.head = nn.Linear(4, 4)
        self.shared = self.head
        self.norm = nn.GroupNorm(2, 4)
        self.queries = nn.Embedding(5, 4)
        self.scale = nn.Parameter(torch.zeros(()))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(3))


def settings_by_name(cfg, model):
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in parameter_groups(cfg, model)
        for parameter in group["params"]
    }


def test_rates_and_decays(cfg):
    settings = settings_by_name(cfg, Toy())
    assert settings == {
        "backbone.conv.weight": (pytest.approx(1e-5), 0.05),
        "backbone.conv.bias": (pytest.approx(1e-5), 0.05),
        "backbone.norm.weight": (pytest.approx(1e-5), 0.0),
        "backbone.norm.bias": (pytest.approx(1e-5), 0.0),
        "head.weight": (1e-4, 0.05),
        "head.bias": (1e-4, 0.05),
        "norm.weight": (1e-4, 0.0),
        "norm.bias": (1e-4, 0.0),
        "queries.weight": (1e-4, 0.0),
        "scale": (1e-4, 0.05),
        "relative_position_bias_table": (1e-4, 0.0),
    }


def test_fcclip_groups():
    model, cfg = tiny_model(), tiny_cfg()
    settings = settings_by_name(cfg, model)
    assert settings.keys() == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith("backbone") for name in settings)
    undecayed = ("query_feat", "query_embed", "predictor.level_embed", "void_embedding", "norm")
    for name, (rate, decay) in settings.items():
        assert rate == 1e-4
        is_norm = any(part in name for part in undecayed) or name.endswith(
            (".0.1.weight", ".1.1.weight", ".2.1.weight", ".0.1.bias", ".1.1.bias", ".2.1.bias")
        )
        if name.endswith(("logit_scale", "transformer.level_embed")):
            assert decay == 0.05, name
        elif is_norm or "_mask_pooling_proj.0" in name:
            assert decay == 0.0, name
        else:
            assert decay == 0.05, name
    assert len(parameter_groups(cfg, model)) == 2


def test_optimisers_by_name(cfg):
    assert type(build_optimizer(cfg, Toy())) is torch.optim.AdamW
    cfg.SOLVER.OPTIMIZER = "SGD"
    optimizer = build_optimizer(cfg, Toy())
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.defaults["momentum"] == cfg.SOLVER.MOMENTUM
    cfg.SOLVER.OPTIMIZER = "LION"
    with pytest.raises(ValueError, match="ADAMW or SGD, not 'LION'"):
        build_optimizer(cfg, Toy())
    with pytest.raises(ValueError, match="no trainable parameter"):
        build_optimizer(cfg, nn.ReLU())


def make_gradients():
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(4)), nn.Parameter(torch.zeros(2))]
    parameters[0].grad, parameters[1].grad = torch.full((3,), 3.0), torch.full((4,), -4.0)
    return parameters


def test_full_model_clipping_looks_at_all_gradients_together(cfg):
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE, cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = "full_model", 0.01
    parameters = make_gradients()
    norm = clip_gradients(cfg, parameters)
    assert norm == pytest.approx((3 * 9 + 4 * 16) ** 0.5)
    clipped = torch.cat([parameters[0].grad, parameters[1].grad])
    assert clipped.norm() == pytest.approx(0.01, rel=1e-3)
    assert clipped[0] / clipped[-1] == pytest.approx(-3 / 4)


def test_clipping_one_by_one_and_by_value(cfg):
    node = cfg.SOLVER.CLIP_GRADIENTS
    parameters = make_gradients()
    assert clip_gradients(cfg, parameters) is None
    assert parameters[0].grad.tolist() == [3.0] * 3, "off by default"
    node.ENABLED, node.CLIP_TYPE, node.CLIP_VALUE = True, "norm", 0.5
    clip_gradients(cfg, parameters)
    assert [parameter.grad.norm().item() for parameter in parameters[:2]] == pytest.approx([0.5, 0.5], rel=1e-4)
    parameters = make_gradients()
    node.CLIP_TYPE = "value"
    clip_gradients(cfg, parameters)
    assert [parameter.grad[0].item() for parameter in parameters[:2]] == [0.5, -0.5]
    node.CLIP_TYPE = "all"
    with pytest.raises(ValueError, match="full_model, norm or value, not 'all'"):
        clip_gradients(cfg, parameters)


def updates(cfg, steps, state=None):
    """Weights and state after some clipped updates from drawn gradients, on from those that `state` has seen."""
    torch.manual_seed(0)
    model = Toy()
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE, cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = "full_model", 0.1
    optimizer = build_optimizer(cfg, model)
    if state is not None:
        model.load_state_dict(state["model"])
        load_optimizer_state(optimizer, state["optimizer"])
    for step in range(state["steps"] if state else 0, steps):
        generator = torch.Generator().manual_seed(step)
        for parameter in trainable(optimizer):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        clip_gradients(cfg, trainable(optimizer))
        optimizer.step()
    return copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "steps": steps})


def test_the_fused_update_is_the_plain_one_up_to_rounding(cfg):
    start, plain = updates(cfg, 0)["model"], updates(cfg, 50)["model"]
    cfg.SOLVER.FUSED_ADAMW = True
    fused = updates(cfg, 50)
    assert all(group["fused"] for group in fused["optimizer"]["param_groups"])
    assert any((plain[name] != start[name]).any() for name in plain)
    for name, weight in fused["model"].items():
        torch.testing.assert_close(weight, plain[name], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fused", [False, True])
def test_an_update_goes_on_to_the_bit(cfg, fused):
    cfg.SOLVER.FUSED_ADAMW = fused
    whole, resumed = updates(cfg, 6), updates(cfg, 6, updates(cfg, 3))
    assert all(torch.equal(weight, resumed["model"][name]) for name, weight in whole["model"].items())


def test_the_configuration_decides_how_a_resumed_run_updates(cfg):
    plain = updates(cfg, 3)
    cfg.SOLVER.FUSED_ADAMW = True
    fused = updates(cfg, 6, plain)
    assert all(group["fused"] for group in fused["optimizer"]["param_groups"])
    cfg.SOLVER.FUSED_ADAMW = False
    back = updates(cfg, 9, fused)
    assert not any(group["fused"] for group in back["optimizer"]["param_groups"])
    for name, weight in updates(cfg, 9)["model"].items():
        torch.testing.assert_close(back["model"][name], weight, rtol=1e-6, atol=1e-7)


def test_a_pytorch_without_the_fused_update_is_named(cfg, monkeypatch):
    def refuse(*_, fused=None, **__):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(torch.optim, "AdamW", refuse)
    cfg.SOLVER.FUSED_ADAMW = True
    with pytest.raises(ValueError, match="set SOLVER.FUSED_ADAMW False"):
        build_optimizer(cfg, Toy())


def test_a_float16_tower_needs_a_gpu(cfg):
    cfg.MODEL.DEVICE, cfg.MODEL.FC_CLIP.TRAINING_TOWER_DTYPE = "cpu", "float16"
    with pytest.raises(ValueError, match="MODEL.DEVICE cpu cannot train with an image tower in float16"):
        Precision(cfg)
    cfg.MODEL.FC_CLIP.TRAINING_TOWER_DTYPE = "bfloat16"
    Precision(cfg)


def test_precision(cfg):
    cfg.MODEL.DEVICE = "cpu"
    assert not Precision(cfg).scaler.is_enabled()
    with Precision(cfg).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    cfg.SOLVER.AMP.ENABLED = True
    with pytest.raises(ValueError, match="cpu cannot train in float16"):
        Precision(cfg)
    cfg.SOLVER.AMP.DTYPE = "bfloat16"
    with Precision(cfg).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert not Precision(cfg).scaler.is_enabled()
    cfg.SOLVER.AMP.DTYPE = "half"
    with pytest.raises(ValueError, match="float16 or bfloat16"):
        Precision(cfg)
