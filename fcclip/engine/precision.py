"""Mixed precision: in which type a training step computes, and the scaling of its loss."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from detectron2.config import CfgNode

from fcclip.config import dtype_of_key


class Precision:
    """Autocast and loss scaling of SOLVER.AMP; without AMP both do nothing.

    Attributes:
        scaler: torch's gradient scaler, active for float16 only: bfloat16 has float32's range.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """
        Raises:
            ValueError: the type is unknown, or cannot be trained in on the device.
        """
        node = cfg.SOLVER.AMP
        self._device = torch.device(cfg.MODEL.DEVICE).type
        if node.DTYPE not in ("float16", "bfloat16"):
            raise ValueError(f"SOLVER.AMP.DTYPE must be float16 or bfloat16, not {node.DTYPE!r}")
        self._dtype = dtype_of_key("SOLVER.AMP.DTYPE", node.DTYPE)
        self._enabled = bool(node.ENABLED)
        scaled = self._enabled and self._dtype is torch.float16
        if scaled and self._device != "cuda":
            raise ValueError(
                f"MODEL.DEVICE {cfg.MODEL.DEVICE} cannot train in float16; set SOLVER.AMP.ENABLED False, or "
                "SOLVER.AMP.DTYPE bfloat16"
            )
        if cfg.MODEL.FC_CLIP.TRAINING_TOWER_DTYPE == "float16" and self._device != "cuda":
            raise ValueError(
                f"MODEL.DEVICE {cfg.MODEL.DEVICE} cannot train with an image tower in float16; set "
                "MODEL.FC_CLIP.TRAINING_TOWER_DTYPE bfloat16"
            )
        self.scaler: Any = torch.amp.GradScaler("cuda", enabled=scaled)

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which the forward pass runs."""
        return torch.autocast(self._device, dtype=self._dtype, enabled=self._enabled)
