"""Parameter groups, clipping and precision by their published rules."""

import pytest
import torch
from torch import nn

from fcclip.config import get_cfg
from fcclip.engine.optimizer import build_optimizer, clip_gradients, parameter_groups
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
