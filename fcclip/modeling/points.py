"""Points at which masks are compared: how they are drawn, and how masks are read there.

Comparing masks at a few thousand points instead of at every pixel cuts the memory of training to a third (Cheng et al.,
Masked-attention Mask Transformer, CVPR 2022, section 3.3); points near uncertain predictions are preferred
(Kirillov et al., PointRend, CVPR 2020). Coordinates are (x, y) in [0, 1] over the whole map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PointDraws:
    """The random points of one supervised output, for B images and N matched masks.

    Attributes:
        matching: (B, P, 2), shared by all queries and targets of an image.
        candidates: (N, oversampled P, 2), of which the most uncertain are kept.
        uniform: (N, P - kept, 2), used as they are.
    """

    matching: Tensor
    candidates: Tensor
    uniform: Tensor


@dataclass(frozen=True)
class PointSampler:
    """Draws the points of the mask losses.

    Attributes:
        num_points: P, points per mask.
        oversample_ratio: candidates per point, at least 1.
        importance_ratio: share of the P points that is chosen by uncertainty, in [0, 1].
    """

    num_points: int
    oversample_ratio: float
    importance_ratio: float

    def __post_init__(self) -> None:
        if self.num_points < 1:
            raise ValueError(f"MASK_FORMER.TRAIN_NUM_POINTS must be at least 1, not {self.num_points}")
        if self.oversample_ratio < 1:
            raise ValueError(f"MASK_FORMER.OVERSAMPLE_RATIO must be at least 1, not {self.oversample_ratio}")
        if not 0 <= self.importance_ratio <= 1:
            raise ValueError(f"MASK_FORMER.IMPORTANCE_SAMPLE_RATIO must lie in [0, 1], not {self.importance_ratio}")

    def draw(self, num_images: int, num_masks: int, device: torch.device) -> PointDraws:
        """Take the random numbers of one output from the device's generator, in the published order.

        One call an image, then the candidates, then the uniform points: on a GPU the split into calls decides the
        numbers, so equal seeds give equal losses only with exactly these calls.
        """
        matching = [torch.rand(1, self.num_points, 2, device=device) for _ in range(num_images)]
        candidates = torch.rand(num_masks, int(self.num_points * self.oversample_ratio), 2, device=device)
        uniform = torch.rand(num_masks, self.num_points - self._num_uncertain, 2, device=device)
        return PointDraws(torch.cat(matching), candidates, uniform)

    @torch.no_grad()
    def select(self, mask_logits: Tensor, draws: PointDraws) -> Tensor:
        """Keep the candidates where the prediction is least sure (logit nearest to 0), and join the uniform points.

        Args:
            mask_logits: (N, h, w).
            draws: made by `draw` for the same N.

        Returns:
            (N, P, 2) coordinates.
        """
        candidate_logits = sample_logits(mask_logits[:, None], draws.candidates)[:, 0]
        chosen = torch.topk(-candidate_logits.abs(), k=self._num_uncertain, dim=1).indices
        uncertain = draws.candidates.gather(1, chosen[..., None].expand(-1, -1, 2))
        return torch.cat([uncertain, draws.uniform], dim=1)

    @property
    def _num_uncertain(self) -> int:
        return int(self.importance_ratio * self.num_points)


def sample_logits(maps: Tensor, coords: Tensor) -> Tensor:
    """Read maps at points, bilinearly, zero outside; differentiable.

    Args:
        maps: (N, C, H, W) floating point.
        coords: (N, P, 2) in [0, 1].

    Returns:
        (N, C, P).
    """
    return F.grid_sample(maps, 2.0 * coords[:, :, None] - 1.0, align_corners=False)[..., 0]


def sample_masks(masks: Tensor, rows: Tensor, coords: Tensor) -> Tensor:
    """Read some of many binary masks at points, as `sample_logits` would read them in float.

    The four neighbours are gathered from the boolean masks, so neither a float copy of all masks (four times their
    memory) nor a copy of the chosen rows is made.

    Args:
        masks: (T, H, W) bool.
        rows: (..., N) int64, which mask each row of the result reads.
        coords: (..., N, P, 2) in [0, 1], or (..., 1, P, 2) shared by the N rows.

    Returns:
        (..., N, P) float32 in [0, 1].
    """
    height, width = masks.shape[-2:]
    x = coords[..., 0] * width - 0.5
    y = coords[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    right_share, bottom_share = x - left, y - top

    flat = masks.reshape(-1)
    first_pixel = rows[..., None] * (height * width)
    result = torch.zeros(*rows.shape, coords.shape[-2], device=coords.device)
    for dx, x_share in ((0, 1 - right_share), (1, right_share)):
        for dy, y_share in ((0, 1 - bottom_share), (1, bottom_share)):
            column, line = left.long() + dx, top.long() + dy
            inside = (column >= 0) & (column < width) & (line >= 0) & (line < height)
            pixel = line.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            result += flat[first_pixel + pixel] * (x_share * y_share * inside)
    return result
