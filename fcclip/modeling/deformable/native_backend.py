"""Deformable attention by the compiled operator of the package torch-ms-deform-attn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def sample_native(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of bilinear samples; arguments and result as in `~.torch_backend.sample_torch`."""
    from torch_ms_deform_attn import ms_deform_attn

    areas = [height * width for height, width in shapes]
    starts = torch.tensor([sum(areas[:level]) for level in range(len(areas))], device=value.device)
    shape_tensor = torch.tensor(list(shapes), device=value.device)
    dtype = torch.promote_types(torch.promote_types(value.dtype, locations.dtype), weights.dtype)
    tensors = [tensor.to(dtype).contiguous() for tensor in (value, locations, weights)]
    return ms_deform_attn(tensors[0], shape_tensor, starts, *tensors[1:]).to(value.dtype)
