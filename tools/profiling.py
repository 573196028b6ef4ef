"""Where a forward pass spends its time, part by part, against the least that the machine would need.

Two floors: the arithmetic of a part at the rate that the machine reaches in large products and convolutions, and the
memory that a part must read and write at least once at the speed of a large copy. What a part takes beyond the larger
of them is lost in between: operations that pass through memory one after another, small shapes, a single thread.
"""

from __future__ import annotations

import statistics
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from fcclip.clip.convnext_blocks import run_stage
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.modeling.deformable.backends import sampler

REST = "the rest"
COPY_BYTES = 2**28
PRODUCT_SIDE = 2048
RATE_RUNS = 5
SAMPLE_FLOPS = 8  # multiplications and additions of a bilinear sample of one channel
PROJECTIONS = ("sampling_offsets", "attention_weights", "value_proj", "output_proj")


def now(device: torch.device) -> float:
    """Seconds, when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@dataclass
class Rates:
    """What the machine reaches: FLOP/s by type of number, and bytes/s of a copy, reading and writing together."""

    flops: dict[torch.dtype, float]
    bytes: float

    def of(self, dtype: torch.dtype) -> float:
        """FLOP/s in a type; of float32 where it was not measured."""
        return self.flops.get(dtype, self.flops[torch.float32])

    @classmethod
    def measure(cls, device: torch.device) -> Rates:
        """Take the better of a large matrix product and a large 3x3 convolution, the best of a few runs."""
        types = [torch.float32, torch.bfloat16] + ([torch.float16] if device.type == "cuda" else [])
        source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copying = 2 * COPY_BYTES / _best_seconds(lambda: target.copy_(source), device)
        return cls({dtype: _flops(dtype, device) for dtype in types}, copying)


def _flops(dtype: torch.dtype, device: torch.device) -> float:
    square = torch.randn(PRODUCT_SIDE, PRODUCT_SIDE, device=device).to(dtype)
    product = 2 * PRODUCT_SIDE**3 / _best_seconds(lambda: square @ square, device)
    channels, side = 256, 100
    image = torch.randn(1, channels, side, side, device=device).to(dtype).to(memory_format=torch.channels_last)
    kernel = torch.randn(channels, channels, 3, 3, device=device).to(dtype).to(memory_format=torch.channels_last)
    flops = 2 * 9 * channels**2 * side**2
    return max(product, flops / _best_seconds(lambda: F.conv2d(image, kernel, padding=1), device))


def _best_seconds(run: Callable[[], Any], device: torch.device) -> float:
    run()
    seconds = []
    for _ in range(RATE_RUNS):
        start = now(device)
        run()
        seconds.append(now(device) - start)
    return min(seconds)


@dataclass
class Part:
    """A part of the forward pass: seconds of each run, and what it computes and moves in one run."""

    seconds: list[float] = field(default_factory=list)
    flops: dict[torch.dtype, int] = field(default_factory=lambda: defaultdict(int))
    bytes: int = 0


def profile(model: FCCLIP, inputs: list[dict[str, Any]], repeats: int) -> dict[str, Part]:
    """Run a model once to count and `repeats` times to measure.

    Args:
        model: in eval mode.
        inputs: what it is called with.

    Returns:
        The parts by name in the order in which they run; :data:`REST` is what belongs to no other.
    """
    counter = Counter()
    with parts_of(model, counter.enter), counter, counter.enter(REST):
        model(inputs)
    found = counter.parts
    for _ in range(repeats):
        clock = Clock(model.device)
        with parts_of(model, clock.enter), clock.enter(REST):
            model(inputs)
        for name, seconds in clock.seconds.items():
            found[name].seconds.append(seconds)
    found[REST] = found.pop(REST)  # the last
    return found


class Clock:
    """Seconds by part; a part that is entered stops the one around it."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._inside: list[str] = []
        self._since = 0.0

    @contextmanager
    def enter(self, name: str) -> Iterator[None]:
        self._account()
        self._inside.append(name)
        try:
            yield
        finally:
            self._account()
            self._inside.pop()

    def _account(self) -> None:
        present = now(self._device)
        if self._inside:
            self.seconds[self._inside[-1]] += present - self._since
        self._since = present


class Counter(TorchDispatchMode):
    """FLOPs by part, and the bytes that a part has to move once: tensors that it reads and that it leaves behind."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parts: dict[str, Part] = defaultdict(Part)
        self._calls: list[tuple[Part, Traffic]] = []

    @contextmanager
    def enter(self, name: str) -> Iterator[None]:
        part, traffic = self.parts[name], Traffic()
        self._calls.append((part, traffic))
        try:
            yield
        finally:
            self._calls.pop()
            part.bytes += traffic.bytes()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if self._calls:
            part, traffic = self._calls[-1]
            inputs, outputs = (_tensors(tree) for tree in ((args, kwargs), result))
            flops = count_flops(function, args, kwargs, result)
            if flops:
                part.flops[outputs[0].dtype] += flops
            traffic.add(inputs, outputs, function._schema.is_mutable)
        return result


class Traffic:
    """Memory that one call of a part reads from outside, and what of its own is still there at the end."""

    def __init__(self) -> None:
        self._read: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._own: set[int] = set()
        self._made: list[weakref.ref[Tensor]] = []

    def add(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], mutates: bool) -> None:
        known = {_address(tensor) for tensor in inputs}
        for tensor in inputs:
            place = _address(tensor)
            if place not in self._own:
                self._read[place] = max(_size(tensor), self._read.get(place, 0))
        for tensor in outputs:
            place = _address(tensor)
            if place not in known:
                self._own.add(place)
                self._read.pop(place, None)
            if place in self._own:
                self._made.append(weakref.ref(tensor))
            elif mutates:
                self._written[place] = max(_size(tensor), self._written.get(place, 0))

    def bytes(self) -> int:
        left: dict[int, int] = {}
        for reference in self._made:
            tensor = reference()
            if tensor is not None:
                left[_address(tensor)] = max(_size(tensor), left.get(_address(tensor), 0))
        return sum(self._read.values()) + sum(self._written.values()) + sum(left.values())


def count_flops(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """FLOPs of products, convolutions, attention and deformable sampling; 0 of everything else."""
    operation = function._overloadpacket
    if operation in flop_registry:
        return int(flop_registry[operation](*args, **kwargs, out_val=result))
    if operation.__name__ == "grid_sampler_2d":
        return SAMPLE_FLOPS * result.numel()
    if operation.__name__ == "deformable_attention":
        value, _, _, weights = args[:4]
        return (SAMPLE_FLOPS + 2) * weights.numel() * value.shape[-1]
    return 0


@contextmanager
def parts_of(model: FCCLIP, enter: Callable[[str], AbstractContextManager[None]]) -> Iterator[None]:
    """Within the block, every part of the model runs inside of `enter(its name)`."""
    with ExitStack() as stack:
        for name, owner, function in _targets(model):
            stack.enter_context(patch.object(owner, function, _inside(getattr(owner, function), name, enter)))
        stack.enter_context(
            patch(
                "fcclip.modeling.deformable.layer.sampler",
                lambda backend: _inside(sampler(backend), "pixel decoder: sampling", enter),
            )
        )
        stack.enter_context(patch("fcclip.clip.convnext.run_stage", _inside_stages(model, enter)))
        yield


def _inside_stages(
    model: FCCLIP, enter: Callable[[str], AbstractContextManager[None]]
) -> Callable[[nn.Module, Tensor], Tensor]:
    """A `run_stage` that enters the part of each stage."""
    names = {stage: name for name, stage in _numbered_stages(model)}

    def wrapper(stage: nn.Module, x: Tensor) -> Tensor:
        return _inside(run_stage, names[stage], enter)(stage, x)

    return wrapper


def _inside(
    run: Callable[..., Any], name: str, enter: Callable[[str], AbstractContextManager[None]]
) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with enter(name):
            return run(*args, **kwargs)

    return wrapper


def _targets(model: FCCLIP) -> list[tuple[str, Any, str]]:
    """Name, owner and method of the parts; several of one name count together."""
    return [*_tower_targets(model), *_pixel_decoder_targets(model), *_decoder_targets(model)]


def _numbered_stages(model: FCCLIP) -> list[tuple[str, nn.Module]]:
    visual: Any = model.backbone.clip_model.visual
    trunk = getattr(visual, "trunk", None)  # of a ConvNeXt; a ResNet has layers instead
    stages = trunk.stages if trunk is not None else [visual.layer1, visual.layer2, visual.layer3, visual.layer4]
    return [(f"image tower: stage {number}", stage) for number, stage in enumerate(stages, start=1)]


def _tower_targets(model: FCCLIP) -> list[tuple[str, Any, str]]:
    targets: list[tuple[str, Any, str]] = [("image tower: other", model.backbone, "forward")]
    if not hasattr(model.backbone.clip_model.visual, "trunk"):  # a ConvNeXt's are run by `run_stage`
        targets += [(name, stage, "forward") for name, stage in _numbered_stages(model)]
    return targets


def _pixel_decoder_targets(model: FCCLIP) -> list[tuple[str, Any, str]]:
    decoder = model.sem_seg_head.pixel_decoder
    targets: list[tuple[str, Any, str]] = [("pixel decoder: other", decoder, "forward_features")]
    convolutions = [*decoder.input_proj, decoder.adapter_1, decoder.layer_1, decoder.mask_features]
    targets += [("pixel decoder: convolutions", convolution, "forward") for convolution in convolutions]
    for layer in decoder.transformer.encoder["layers"]:
        projections = [getattr(layer.self_attn, name) for name in PROJECTIONS]
        targets += [("pixel decoder: projections", projection, "forward") for projection in projections]
        targets += [("pixel decoder: feed-forward", linear, "forward") for linear in (layer.linear1, layer.linear2)]
    return targets


def _decoder_targets(model: FCCLIP) -> list[tuple[str, Any, str]]:
    predictor = model.sem_seg_head.predictor
    targets: list[tuple[str, Any, str]] = []
    for layers, name in (
        (predictor.transformer_cross_attention_layers, "transformer decoder: cross-attention"),
        (predictor.transformer_self_attention_layers, "transformer decoder: self-attention"),
        (predictor.transformer_ffn_layers, "transformer decoder: feed-forward"),
    ):
        targets += [(name, layer, "forward") for layer in layers]
    return [
        *targets,
        ("transformer decoder: masks and other", predictor, "decode"),
        ("classification", predictor, "classify"),
        ("classification", model, "embed_masks"),
        ("classification", model, "classify"),
        ("results", model, "merge"),
    ]


def print_profile(parts: dict[str, Part], rates: Rates) -> None:
    """One row per part: its median time, its share, both floors, and how many times the larger of them it took."""
    reached = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {str(t).split('.')[1]}" for t, rate in rates.flops.items())
    print(f"the machine reaches {reached}, and copies {rates.bytes / 1e9:.1f} GB/s")
    print(f"{'part':38}{'ms':>9}{'share':>7}{'GFLOP':>9}{'floor ms':>10}{'MB':>9}{'floor ms':>10}{'x floor':>9}")
    whole = sum(statistics.median(part.seconds) for part in parts.values())
    total = 0.0
    for name, part in parts.items():
        seconds = statistics.median(part.seconds)
        arithmetic = sum(flops / rates.of(dtype) for dtype, flops in part.flops.items())
        memory = part.bytes / rates.bytes
        floor = max(arithmetic, memory)
        total += floor
        print(f"{name:38}{1e3 * seconds:9.1f}{seconds / whole:7.1%}{sum(part.flops.values()) / 1e9:9.1f}"
              f"{1e3 * arithmetic:10.1f}{part.bytes / 1e6:9.1f}{1e3 * memory:10.1f}{seconds / floor:9.1f}")  # fmt: skip
    print(f"{'all':38}{1e3 * whole:9.1f}{'':45}{whole / total:9.1f}")


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
