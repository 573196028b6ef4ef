"""Which parameters learn at which rate and with which decay, and how gradients are clipped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver.build import reduce_param_groups
from torch import Tensor, nn

NORM_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)
# Positions that a Swin backbone learns.
UNDECAYED_NAMES = ("relative_position_bias_table", "absolute_pos_embed")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of SOLVER.OPTIMIZER over the trainable parameters of a model.

    Raises:
        ValueError: the optimiser is unknown, nothing is trainable, or this PyTorch has no fused AdamW for the device.
    """
    groups = parameter_groups(cfg, model)
    if not groups:
        raise ValueError("the model has no trainable parameter")
    if cfg.SOLVER.OPTIMIZER == "ADAMW":
        return _adamw(groups, cfg.SOLVER.BASE_LR, bool(cfg.SOLVER.FUSED_ADAMW))
    if cfg.SOLVER.OPTIMIZER == "SGD":
        return torch.optim.SGD(groups, lr=cfg.SOLVER.BASE_LR, momentum=cfg.SOLVER.MOMENTUM)
    raise ValueError(f"SOLVER.OPTIMIZER must be ADAMW or SGD, not {cfg.SOLVER.OPTIMIZER!r}")


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a state dict, but go on updating as this optimiser was built to.

    A state dict also says whether the update was fused; it would silently win over the configuration.
    """
    own = {key: value for key, value in optimizer.defaults.items() if key == "fused"}
    groups = [{**group, **own} for group in state["param_groups"]]
    optimizer.load_state_dict({**state, "param_groups": groups})


def parameter_groups(cfg: CfgNode, model: nn.Module) -> list[dict[str, Any]]:
    """Trainable parameters, those of equal learning rate and weight decay together (few groups step faster)."""
    single = []
    seen: set[nn.Parameter] = set()
    for module_name, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and parameter not in seen:
                seen.add(parameter)
                single.append({"params": [parameter], **_settings(cfg, module_name, module, name)})
    groups: list[dict[str, Any]] = reduce_param_groups(single)
    return groups


def clip_gradients(cfg: CfgNode, parameters: Iterable[Tensor]) -> Tensor | None:
    """Clip gradients in place as SOLVER.CLIP_GRADIENTS says.

    Returns:
        The norm of all gradients before clipping where the clipping needs it, else None.

    Raises:
        ValueError: CLIP_TYPE is unknown.
    """
    node = cfg.SOLVER.CLIP_GRADIENTS
    if not node.ENABLED:
        return None
    parameters = [parameter for parameter in parameters if parameter.grad is not None]
    if node.CLIP_TYPE == "full_model":
        return nn.utils.clip_grad_norm_(parameters, node.CLIP_VALUE, node.NORM_TYPE)
    if node.CLIP_TYPE == "norm":
        for parameter in parameters:
            nn.utils.clip_grad_norm_(parameter, node.CLIP_VALUE, node.NORM_TYPE)
    elif node.CLIP_TYPE == "value":
        nn.utils.clip_grad_value_(parameters, node.CLIP_VALUE)
    else:
        raise ValueError(f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE must be full_model, norm or value, not {node.CLIP_TYPE!r}")
    return None


def trainable(optimizer: torch.optim.Optimizer) -> Sequence[Tensor]:
    """All parameters of an optimiser."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _adamw(groups: list[dict[str, Any]], rate: float, fused: bool) -> torch.optim.AdamW:
    """AdamW; fused only if asked for: it rounds otherwise, so a run begun without it would not go on to the bit.

    From equal gradients the two stay within the rounding of float32 of each other (1.5e-8 after 200 steps).
    """
    try:
        return torch.optim.AdamW(groups, lr=rate, fused=fused or None)
    except RuntimeError as error:  # before PyTorch 2.4 only CUDA had it
        raise ValueError(f"this PyTorch has no fused AdamW here; set SOLVER.FUSED_ADAMW False ({error})") from error


def _settings(cfg: CfgNode, module_name: str, module: nn.Module, name: str) -> dict[str, float]:
    """Learning rate and weight decay of one parameter of a module."""
    rate, decay = cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY
    if "backbone" in module_name:
        rate *= cfg.SOLVER.BACKBONE_MULTIPLIER
    if name in UNDECAYED_NAMES:
        decay = 0.0
    if isinstance(module, NORM_LAYERS):
        decay = cfg.SOLVER.WEIGHT_DECAY_NORM
    if isinstance(module, nn.Embedding):
        decay = cfg.SOLVER.WEIGHT_DECAY_EMBED
    return {"lr": rate, "weight_decay": decay}
