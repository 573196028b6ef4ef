"""How many parameters a model has, and which of them are trained."""

from __future__ import annotations

from torch import nn

from fcclip.files.checkpoints import CLIP_PREFIX

TEXT_TOWER = ("token_embedding", "positional_embedding", "transformer", "ln_final", "text_projection")


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Numbers of parameters: total, trainable, frozen, and frozen without CLIP's text tower (not needed for images)."""
    text = tuple(CLIP_PREFIX + name for name in TEXT_TOWER)
    counts = {"total": 0, "trainable": 0, "frozen": 0, "frozen without text": 0}
    for name, parameter in model.named_parameters():
        size = parameter.numel()
        counts["total"] += size
        counts["trainable" if parameter.requires_grad else "frozen"] += size
        if not parameter.requires_grad and not name.startswith(text):
            counts["frozen without text"] += size
    return counts


def describe_parameters(model: nn.Module) -> str:
    """One sentence with `count_parameters`."""
    counts = ", ".join(f"{name} {count:,}" for name, count in count_parameters(model).items())
    return f"parameters: {counts}"
