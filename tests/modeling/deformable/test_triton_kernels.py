"""The numbers of the Triton kernels: on a GPU, or on the CPU in Triton's interpreter (TRITON_INTERPRET=1).

test_triton_backend.py runs this file in the interpreter.
"""

import os

import pytest
import torch

from fcclip.modeling.deformable import MSDeformAttn, triton_backend
from fcclip.modeling.deformable.backends import triton_installed
from fcclip.modeling.deformable.triton_backend import sample_triton
from tests.modeling.deformable.samples import expected, output_and_gradients, random_inputs

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
GPU = torch.cuda.is_available() and not INTERPRETED
DEVICE = torch.device("cuda", 0) if GPU else torch.device("cpu")
SHAPES = ((3, 4), (1, 7))
# Of the largest number. Sums are in float32, so half precision only rounds what comes out.
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}

pytestmark = pytest.mark.skipif(
    not triton_installed() or not (GPU or INTERPRETED), reason="needs Triton and a GPU or TRITON_INTERPRET=1"
)
needs_gpu = pytest.mark.skipif(not GPU, reason="needs a GPU")


@pytest.fixture(autouse=True)
def _leave_determinism_as_it_was():
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def inputs(dtype: torch.dtype = torch.float32, **sizes: int):
    """Channels are no power of two, queries fill no block."""
    value, locations, weights = random_inputs(dtype, SHAPES, **{"queries": 5, "channels": 6, "points": 2, **sizes})
    return value.to(DEVICE), locations.to(DEVICE), weights.to(DEVICE)


def assert_near(ours: list[torch.Tensor], theirs: list[torch.Tensor], tolerance: float) -> None:
    for ours_part, theirs_part in zip(ours, theirs, strict=True):
        error = (ours_part.cpu().double() - theirs_part).abs().max() / theirs_part.abs().max()
        assert error <= tolerance


@pytest.mark.parametrize(
    ("dtype", "deterministic"),
    [*((dtype, False) for dtype in TOLERANCES), (torch.float64, True), (torch.bfloat16, True)],
    ids=str,
)
def test_output_and_gradients_equal_the_plain_path(dtype: torch.dtype, deterministic: bool) -> None:
    torch.use_deterministic_algorithms(deterministic)
    tensors = inputs(dtype, queries=19)  # in the interpreter a block and a bit
    ours = output_and_gradients(sample_triton, tensors, SHAPES)
    assert [part.dtype for part in ours] == [dtype] * 4
    assert_near(ours, expected(tensors, SHAPES), TOLERANCES[dtype])


def test_types_may_differ() -> None:
    value, locations, weights = inputs()
    tensors = (value.bfloat16(), locations, weights.half())
    ours = output_and_gradients(sample_triton, tensors, SHAPES)
    assert [part.dtype for part in ours] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float16]
    assert_near(ours, expected(tensors, SHAPES), TOLERANCES[torch.bfloat16])


def test_layout_in_memory_does_not_matter() -> None:
    value, locations, weights = inputs()
    tensors = (
        value.transpose(1, 2).contiguous().transpose(1, 2),
        locations.flip(1).flip(1),
        weights.mT.contiguous().mT,
    )
    assert not tensors[0].is_contiguous()
    assert not tensors[2].is_contiguous()
    assert_near(
        output_and_gradients(sample_triton, tensors, SHAPES), expected(tensors, SHAPES), TOLERANCES[torch.float32]
    )


def test_64_bit_offsets_give_the_same(monkeypatch) -> None:
    tensors = inputs(batch=1)
    narrow = output_and_gradients(sample_triton, tensors, SHAPES)
    monkeypatch.setattr(triton_backend, "LARGEST_INT32", 0)
    wide = output_and_gradients(sample_triton, tensors, SHAPES)
    assert_near(wide, [part.cpu().double() for part in narrow], TOLERANCES[torch.float32])


def test_places_at_infinity_see_nothing() -> None:
    value, locations, weights = inputs()
    locations[:, 0, ..., 0] = float("inf")
    locations[:, 1, ..., 1] = float("nan")
    locations[:, 2] = 1e30
    locations[:, 3] = -1e30
    out, *gradients = output_and_gradients(sample_triton, (value, locations, weights), SHAPES)
    assert not out[:, :4].any()
    assert out[:, 4].any()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not gradients[1][:, :4].any()


def test_fixed_point_does_not_depend_on_the_order() -> None:
    torch.use_deterministic_algorithms(True)
    value, locations, weights = inputs(queries=15)
    value.requires_grad_()
    grad = torch.randn(2, 15, 12, generator=torch.Generator().manual_seed(1)).to(DEVICE)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    gradients = [
        torch.autograd.grad(sample_triton(value, SHAPES, locations[:, o], weights[:, o]), value, grad[:, o])[0]
        for o in (torch.arange(15, device=DEVICE), order)
    ]
    assert torch.equal(*gradients)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e30])
def test_fixed_point_fits_any_scale(scale: float) -> None:
    torch.use_deterministic_algorithms(True)
    value, locations, weights = inputs(batch=1, queries=3)
    value.requires_grad_()
    out = sample_triton(value, SHAPES, locations, weights)
    (one,) = torch.autograd.grad(out, value, torch.ones_like(out), retain_graph=True)
    (scaled,) = torch.autograd.grad(out, value, torch.full_like(out, scale))
    torch.testing.assert_close(scaled.double(), one.double() * scale, rtol=1e-5, atol=1e-6 * scale)


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("deterministic", [False, True], ids=["atomic", "fixed-point"])
def test_an_overflow_stays_visible(bad: float, deterministic: bool) -> None:
    torch.use_deterministic_algorithms(deterministic)
    value, locations, weights = inputs(batch=1, queries=3)
    value.requires_grad_()
    out = sample_triton(value, SHAPES, locations, weights)
    grad = torch.ones_like(out)
    grad[0, 0, 0] = bad
    assert not torch.autograd.grad(out, value, grad)[0].isfinite().all()


def test_no_queries_are_no_work() -> None:
    for deterministic in (False, True):
        torch.use_deterministic_algorithms(deterministic)
        out, grad_value, _, _ = output_and_gradients(sample_triton, inputs(queries=0), SHAPES)
        assert out.shape == (2, 0, 12)
        assert not grad_value.any()


def test_is_an_operator_as_pytorch_wants_it() -> None:
    value, locations, weights = (tensor.requires_grad_() for tensor in inputs(batch=1, queries=2))
    shapes = torch.tensor(SHAPES, dtype=torch.int32, device=DEVICE)
    torch.library.opcheck(triton_backend._sample, (value, shapes, locations, weights, False))


def test_layer_equals_the_plain_one_alone_compiled_and_under_autocast() -> None:
    torch.manual_seed(0)
    ours = MSDeformAttn(16, levels=2, heads=2, points=2, backend="triton").to(DEVICE)
    torch.nn.init.normal_(ours.attention_weights.weight)
    torch.nn.init.normal_(ours.sampling_offsets.weight)
    plain = MSDeformAttn(16, levels=2, heads=2, points=2, backend="torch").to(DEVICE)
    plain.load_state_dict(ours.state_dict())
    values, references = torch.randn(2, 19, 16, device=DEVICE), torch.rand(5, 2, device=DEVICE)
    arguments = (values[:, :5], references, values, SHAPES)
    reference = plain(*arguments)
    reference.square().sum().backward()

    torch.testing.assert_close(ours(*arguments), reference, atol=1e-5, rtol=1e-5)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)(*arguments)
    torch.testing.assert_close(compiled, reference, atol=1e-5, rtol=1e-5)
    compiled.square().sum().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(ours.get_parameter(name).grad, parameter.grad, atol=1e-4, rtol=1e-4)
    with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
        half = ours(*arguments)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), reference, atol=0.1, rtol=0.05)


@needs_gpu
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_real_sizes(dtype: torch.dtype) -> None:
    shapes = ((25, 38), (50, 75), (100, 150))
    tensors = tuple(t.to(DEVICE) for t in random_inputs(dtype, shapes, queries=4001, heads=8, channels=32, points=4))
    ours = output_and_gradients(sample_triton, tensors, shapes)
    assert_near(ours, expected(tensors, shapes), 10 * TOLERANCES[dtype])  # of wider pictures


@needs_gpu
def test_fixed_point_gives_the_same_bits_again() -> None:
    torch.use_deterministic_algorithms(True)
    shapes = ((25, 38), (50, 75))
    tensors = tuple(t.to(DEVICE) for t in random_inputs(torch.float32, shapes, queries=4001, heads=8, channels=32))
    first, second = (output_and_gradients(sample_triton, tensors, shapes) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@needs_gpu
def test_goes_into_a_cuda_graph() -> None:
    value, locations, weights = inputs()
    eager = sample_triton(value, SHAPES, locations, weights)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = sample_triton(value, SHAPES, locations, weights)
    value.mul_(2)
    graph.replay()
    torch.testing.assert_close(captured, 2 * eager)
