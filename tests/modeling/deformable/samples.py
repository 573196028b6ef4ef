"""Random inputs of deformable attention, and what it has to give for them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fcclip.modeling.deformable.torch_backend import sample_torch

SHAPES = ((3, 4), (5, 7))
Inputs = tuple[Tensor, Tensor, Tensor]


def random_inputs(
    dtype: torch.dtype = torch.float64,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    *,
    batch: int = 2,
    queries: int = 6,
    heads: int = 2,
    channels: int = 4,
    points: int = 3,
) -> Inputs:
    """Value, locations (some of them outside) and weights.

    Locations keep away from the centres of pixels, where their gradient jumps and rounding decides on which side.
    """
    generator = torch.Generator().manual_seed(0)
    area = sum(height * width for height, width in shapes)
    value = torch.randn(batch, area, heads, channels, generator=generator, dtype=torch.float64)
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, queries, heads, len(shapes), points, generator=generator, dtype=torch.float64)
    sizes = torch.tensor([(width, height) for height, width in shapes])[:, None]
    pixels = (locations * 1.4 - 0.2) * sizes - 0.5
    locations = (pixels.floor() + 0.1 + 0.8 * (pixels - pixels.floor()) + 0.5) / sizes
    return value.to(dtype), locations.to(dtype), weights.to(dtype)


def output_and_gradients(
    sample: Callable[..., Tensor], inputs: Inputs, shapes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """The output, and the gradients of value, locations and weights for a fixed random gradient of the output."""
    value, locations, weights = (tensor.detach().requires_grad_() for tensor in inputs)
    out = sample(value, shapes, locations, weights)
    generator = torch.Generator().manual_seed(1)
    grad = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(inputs[0].dtype)  # rounded as the values
    return [out, *torch.autograd.grad(out, (value, locations, weights), grad.to(out))]


def expected(inputs: Inputs, shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """The same by the plain path in float64."""

    def sample(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
        return sample_torch(value.double(), shapes, locations.double(), weights.double())

    value, locations, weights = (tensor.detach().cpu() for tensor in inputs)
    return [tensor.double() for tensor in output_and_gradients(sample, (value, locations, weights), shapes)]
