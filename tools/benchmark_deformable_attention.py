#!/usr/bin/env python3
"""Deformable attention by PyTorch, by the native operator and by our Triton kernels: time, agreement, memory floor.

    python tools/benchmark_deformable_attention.py                       # a GPU if there is one; forward and backward
    python tools/benchmark_deformable_attention.py --image 1024x2048 --batch 8 --types float16 --passes forward
    python tools/benchmark_deformable_attention.py --device cpu --types float32 --repeats 3

The sizes are those of one layer of FC-CLIP's pixel decoder. The backends run in turns; the table shows medians. "of
floor" compares with the time to read every input once and write every result once at the speed of a large copy, which
is measured first; gradients of the value count twice, as their buffer is zeroed and then added to. "error" is the
largest difference from float64, in parts of the largest number, over the output and, in a backward pass, the gradients.
Values are random; places lie a few pixels around the query, as they do in a trained model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from fcclip.engine.errors import run_tool
from fcclip.modeling.deformable import Shapes
from fcclip.modeling.deformable.backends import check_backend, sampler
from fcclip.modeling.deformable.torch_backend import sample_torch
from fcclip.modeling.pixel_decoder import reference_points

BACKENDS = ("torch", "native", "triton")
STRIDES = (32, 16, 8)
HEADS, CHANNELS, POINTS = 8, 32, 4
SPREAD = 3.0  # pixels from the query to what it looks at, standard deviation
CACHE_FLUSH = 256 * 2**20  # bytes, more than any cache of a GPU
PASSES = ("forward", "backward")


@dataclass(frozen=True)
class Result:
    """One row of the table: seconds of the fastest and the median run, and the largest error."""

    backend: str
    dtype: str
    which: str
    median: float
    fastest: float
    error: float
    floor_bytes: int


@dataclass(frozen=True)
class Problem:
    """Inputs on the device, and what to compare with."""

    shapes: Shapes
    inputs: tuple[Tensor, Tensor, Tensor]
    grad: Tensor

    @property
    def device(self) -> torch.device:
        return self.grad.device

    def floor_bytes(self, which: str) -> int:
        value, locations, weights = (tensor.nbytes for tensor in self.inputs)
        forward = value + locations + weights + self.grad.nbytes
        # Backward reads all of this and writes the gradients; the one of the value is summed in float32.
        return forward if which == "forward" else forward + 2 * 4 * self.inputs[0].numel() + locations + weights


def make_problem(image: tuple[int, int], batch: int, dtype: torch.dtype, device: torch.device) -> Problem:
    generator = torch.Generator().manual_seed(0)
    shapes = tuple((-(-image[0] // stride), -(-image[1] // stride)) for stride in STRIDES)
    references = reference_points(shapes, torch.device("cpu"))
    cells, levels = len(references), len(shapes)
    sizes = torch.tensor([(width, height) for height, width in shapes])[:, None]
    offsets = SPREAD * torch.randn(batch, cells, HEADS, levels, POINTS, 2, generator=generator)
    pixels = references[:, None, None, None] * sizes + offsets - 0.5
    # Away from the centres of pixels, where the gradient of the place jumps and rounding decides on which side.
    locations = (pixels.floor() + 0.1 + 0.8 * (pixels - pixels.floor()) + 0.5) / sizes
    weights = torch.randn(batch, cells, HEADS, levels * POINTS, generator=generator).softmax(dim=-1)
    value = torch.randn(batch, cells, HEADS, CHANNELS, generator=generator)
    grad = torch.randn(batch, cells, HEADS * CHANNELS, generator=generator)
    # Places are in float32, as the layer makes them.
    inputs = (value.to(device, dtype), locations.to(device), weights.view(*locations.shape[:-1]).to(device, dtype))
    return Problem(shapes, inputs, grad.to(device, dtype))


def outputs(problem: Problem, backend: str, which: str) -> list[Tensor]:
    """The output; in a backward pass the gradients too."""
    inputs = [tensor.detach().requires_grad_(which == "backward") for tensor in problem.inputs]
    out = sampler(backend)(inputs[0], problem.shapes, inputs[1], inputs[2])
    return [out] if which == "forward" else [out, *torch.autograd.grad(out, inputs, problem.grad)]


def exact_outputs(problem: Problem, which: str) -> list[Tensor]:
    """The same by the plain path in float64, one image after another."""
    images = []
    for index in range(len(problem.grad)):
        inputs = [tensor[index : index + 1].double().requires_grad_(which == "backward") for tensor in problem.inputs]
        out = sample_torch(inputs[0], problem.shapes, inputs[1], inputs[2])
        grad = problem.grad[index : index + 1].double()
        images.append([out] if which == "forward" else [out, *torch.autograd.grad(out, inputs, grad)])
    return [torch.cat(parts).detach() for parts in zip(*images, strict=True)]


def largest_error(ours: list[Tensor], exact: list[Tensor]) -> float:
    return max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, exact, strict=True))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """One run, from a cold cache on a GPU: between layers other work passes through it."""
    if device.type != "cuda":
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    torch.empty(CACHE_FLUSH, dtype=torch.uint8, device=device).zero_()
    start_event, end_event = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start_event.record()
    run()
    end_event.record()
    torch.cuda.synchronize(device)
    return start_event.elapsed_time(end_event) / 1000


def timed_run(problem: Problem, backend: str, which: str) -> Callable[[], object]:
    """What is timed: a forward pass without gradients, or a backward pass alone."""
    inputs = [tensor.detach().requires_grad_(which == "backward") for tensor in problem.inputs]
    sample = sampler(backend)
    if which == "forward":
        return lambda: sample(inputs[0], problem.shapes, inputs[1], inputs[2])
    out = sample(inputs[0], problem.shapes, inputs[1], inputs[2])
    return lambda: torch.autograd.grad(out, inputs, problem.grad, retain_graph=True)


def compare(problem: Problem, backends: list[str], dtype: str, which: str, repeats: int) -> list[Result]:
    exact = exact_outputs(problem, which)
    errors = {backend: largest_error(outputs(problem, backend, which), exact) for backend in backends}
    del exact
    runs = {backend: timed_run(problem, backend, which) for backend in backends}
    times: dict[str, list[float]] = {backend: [] for backend in backends}
    for _ in range(repeats):
        for backend, run in runs.items():
            times[backend].append(seconds(run, problem.device))
    floor = problem.floor_bytes(which)
    return [
        Result(backend, dtype, which, statistics.median(taken), min(taken), errors[backend], floor)
        for backend, taken in times.items()
    ]


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes."""
    source = torch.empty(2**30 if device.type == "cuda" else 2**28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.nbytes / min(seconds(lambda: target.copy_(source), device) for _ in range(5))


def usable_backends(device: torch.device) -> list[str]:
    """Those that run on the device; says of the others why not."""
    usable = []
    for backend in BACKENDS:
        try:
            check_backend(backend)
            sample = sampler(backend)
            small = make_problem((32, 32), 1, torch.float32, device)
            sample(small.inputs[0], small.shapes, *small.inputs[1:])
        except (ValueError, RuntimeError, ImportError) as error:
            print(f"not run: {backend}: {error}")
        else:
            usable.append(backend)
    return usable


def print_table(results: list[Result], bandwidth: float) -> None:
    print(
        f"{'':9}{'type':10}{'backend':9}{'ms':>10}{'fastest':>10}{'ratio':>8}{'GB/s':>8}{'of floor':>10}{'error':>10}"
    )
    plain = {(result.dtype, result.which): result.median for result in results if result.backend == "torch"}
    for result in results:
        ratio = plain[result.dtype, result.which] / result.median
        rate = result.floor_bytes / result.median
        times = f"{1e3 * result.median:10.3f}{1e3 * result.fastest:10.3f}{ratio:7.2f}x"
        print(
            f"{result.which:9}{result.dtype:10}{result.backend:9}{times}"
            f"{rate / 1e9:8.1f}{rate / bandwidth:10.1%}{result.error:10.1e}"
        )


def image_size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f'"{text}" is no image size; write height x width, like 800x1199')
    return int(height), int(width)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default_device, help="cuda or cpu (default: %(default)s here)")
    parser.add_argument("--image", type=image_size, default=(800, 1199), help="height x width in pixels")
    parser.add_argument("--batch", type=int, default=1, help="images")
    parser.add_argument(
        "--types", nargs="+", default=["float32", "float16", "bfloat16"], choices=["float32", "float16", "bfloat16"]
    )
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=PASSES)
    parser.add_argument("--repeats", type=int, default=20, help="turns of the comparison")
    parser.add_argument("--json", type=Path, help="write the results to this file too")
    options = parser.parse_args(arguments)

    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    bandwidth = copy_bandwidth(device)
    print(f"{name}, PyTorch {torch.__version__}; a copy moves {bandwidth / 1e9:.0f} GB/s")
    height, width = options.image
    print(f"{options.batch} x {height}x{width}, {HEADS} heads, {POINTS} points at each of {len(STRIDES)} levels")
    if device.type == "cpu":
        print("not run: everything on a GPU; this is the CPU")
    backends = usable_backends(device)
    results = []
    for dtype in options.types:
        problem = make_problem(options.image, options.batch, getattr(torch, dtype), device)
        for which in options.passes:
            results += compare(problem, backends, dtype, which, options.repeats)
    print_table(results, bandwidth)
    if options.json:
        report = {"device": name, "torch": torch.__version__, "bandwidth": bandwidth}
        report |= {"image": options.image, "batch": options.batch, "results": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(run_tool(main))
