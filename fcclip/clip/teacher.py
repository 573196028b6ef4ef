"""The image tower as it was before the training: what a tuned one must not forget."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fcclip.clip.backbone import ImageTower, image_tower
from fcclip.clip.loading import load_clip


class Teacher:
    """A frozen image tower beside the one that is trained; loaded when it is first asked.

    It is no module: it is in no state dict, and costs nothing where nobody trains.

    Args:
        name, weights: MODEL.FC_CLIP.CLIP_MODEL_NAME and CLIP_PRETRAINED_WEIGHTS, with which the training began.
    """

    def __init__(self, name: str, weights: str) -> None:
        self._name, self._weights = name, weights
        self._visual: Any = None

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """`clip_vis_dense` (B, C, H/32, W/32) of normalised images (B, 3, H, W)."""
        return self.tower(images.device).extract_features(images)["clip_vis_dense"]

    def tower(self, device: torch.device) -> ImageTower:
        """The tower, on a device."""
        if self._visual is None:
            # Random weights, of tests alone, change nothing of what is drawn later, and are the same after --resume.
            with torch.random.fork_rng(enabled=not self._weights):
                if not self._weights:
                    torch.manual_seed(0)
                loaded: Any = load_clip(self._name, self._weights).model
            self._visual = loaded.visual.requires_grad_(False).eval()
        self._visual.to(device)
        return image_tower(self._visual, self._name)
