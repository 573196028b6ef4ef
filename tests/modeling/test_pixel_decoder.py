"""Activation checkpointing of the pixel decoder's transformer: equal numbers, each layer computed twice."""

import pytest
import torch

from fcclip.modeling.pixel_decoder import CPU_PIECE, DeformableEncoder
from tests.tiny import tiny_cfg, tiny_model

SHAPES = ((3, 4), (6, 8), (12, 16))
LAYERS = 2


def encoder(activation_checkpointing: bool) -> DeformableEncoder:
    torch.manual_seed(0)
    return DeformableEncoder(len(SHAPES), 32, 4, LAYERS, 0.1, "torch", activation_checkpointing)


def step(model: DeformableEncoder) -> tuple[list[torch.Tensor], list[torch.Tensor], int]:
    """Outputs and gradients of a pass with dropout, and how often a layer ran."""
    calls = []
    for layer in model.encoder["layers"]:
        layer.register_forward_pre_hook(lambda *_: calls.append(1))  # a second run ends before its end
    torch.manual_seed(1)
    inputs = [torch.randn(2, 32, *shape, requires_grad=True) for shape in SHAPES]
    outputs = model(inputs)
    after = torch.rand(1)
    torch.stack([x.square().mean() for x in outputs]).sum().backward()
    return [*outputs, after], [x.grad for x in (*inputs, *model.parameters())], len(calls)


def test_gradients_are_those_without_it() -> None:
    outputs, gradients, calls = step(encoder(False))
    outputs_again, gradients_again, calls_again = step(encoder(True))
    assert (calls, calls_again) == (LAYERS, 2 * LAYERS)
    assert all(torch.equal(x, y) for x, y in zip(outputs, outputs_again, strict=True))
    for expected, found in zip(gradients, gradients_again, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def test_less_is_kept_for_the_backward_pass() -> None:
    def kept(model: DeformableEncoder) -> int:
        sizes = []

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model([torch.randn(1, 32, *shape) for shape in SHAPES])
        return sum(sizes)

    assert kept(encoder(True)) < kept(encoder(False)) / 5


def test_without_gradients_nothing_is_checkpointed() -> None:
    model = encoder(True).eval()
    with torch.no_grad():
        outputs = model([torch.zeros(1, 32, *shape) for shape in SHAPES])
    assert not any(x.requires_grad for x in outputs)


@pytest.mark.parametrize("switch", [False, True])
def test_the_key_reaches_the_transformer(switch: bool) -> None:
    assert tiny_cfg().MODEL.SEM_SEG_HEAD.ACTIVATION_CHECKPOINTING is False
    model = tiny_model(MODEL__SEM_SEG_HEAD__ACTIVATION_CHECKPOINTING=switch)
    assert model.sem_seg_head.pixel_decoder.transformer.activation_checkpointing is switch


def test_pieces_of_the_feed_forward_network_are_the_whole() -> None:
    torch.manual_seed(0)
    encoder = DeformableEncoder(levels=2, width=16, heads=2, layers=1, dropout=0.1, attention_backend="torch").eval()
    maps = [torch.randn(1, 16, 20, 30), torch.randn(1, 16, 50, 70)]
    assert CPU_PIECE < 20 * 30 + 50 * 70 < 3 * CPU_PIECE
    whole = encoder(maps)
    with torch.no_grad():
        pieces = encoder(maps)
    for expected, found in zip(whole, pieces, strict=True):
        torch.testing.assert_close(found, expected.detach(), atol=1e-6, rtol=1e-5)
