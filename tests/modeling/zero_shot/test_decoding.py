"""Descriptor, decoder and aggregation, against their definitions."""

import pytest
import torch
from torch import nn

from fcclip.modeling.zero_shot.decoder import MaskDecoder, ScoredCrossAttention
from fcclip.modeling.zero_shot.descriptor import GaussianAggregation, RelationshipDescriptor


def test_descriptor() -> None:
    descriptor = RelationshipDescriptor(4)
    text, image = torch.randn(3, 4), torch.randn(2, 4)
    queries = descriptor(text, image)
    expected = descriptor.project(torch.cat([image[1] * text[2], text[2]]))
    assert queries.shape == (2, 3, 4)
    torch.testing.assert_close(queries[1, 2], expected)


def test_without_descriptor_the_image_does_not_matter() -> None:
    descriptor = RelationshipDescriptor(4, use_image=False)
    text = torch.randn(3, 4)
    queries = descriptor(text, torch.randn(2, 4))
    assert torch.equal(queries[0], queries[1])
    assert descriptor.project.in_features == 4


def test_cross_attention_is_torchs() -> None:
    attention = ScoredCrossAttention(8, 2, dropout=0.0)
    reference = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([attention.q.weight, attention.k.weight, attention.v.weight]))
        reference.in_proj_bias.copy_(torch.cat([attention.q.bias, attention.k.bias, attention.v.bias]))
        reference.out_proj.load_state_dict(attention.proj.state_dict())
    queries, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    attended, scores = attention(queries, memory)
    expected, weights = reference(queries, memory, memory, average_attn_weights=False)
    torch.testing.assert_close(attended, expected)
    # The logarithm of the weights differs from the scores by a constant a query and head.
    logarithm = weights.log()
    heads = [part.unflatten(-1, (2, -1)).transpose(1, 2) for part in (attention.q(queries), attention.k(memory))]
    exact = heads[0] @ heads[1].transpose(-1, -2) / 2
    torch.testing.assert_close(exact - exact.mean(-1, keepdim=True), logarithm - logarithm.mean(-1, keepdim=True))
    torch.testing.assert_close(scores, exact.mean(dim=1))


def test_decoder_layers_start_alike_and_give_maps_of_any_shape() -> None:
    decoder = MaskDecoder(8, layers=3, heads=2, hidden=16, dropout=0.1)
    states = [layer.state_dict() for layer in decoder.layers]
    assert all(torch.equal(states[0][key], states[2][key]) for key in states[0])
    assert decoder.layers[0].linear1.weight is not decoder.layers[2].linear1.weight
    assert decoder(torch.randn(2, 3, 8), torch.randn(2, 8, 4, 7)).shape == (2, 3, 4, 7)


def test_order_of_classes_does_not_matter() -> None:
    """There is no self-attention: a class's mask does not depend on the others."""
    decoder = MaskDecoder(8, layers=2, heads=2, hidden=16, dropout=0.1).eval()
    queries, patches = torch.randn(1, 5, 8), torch.randn(1, 8, 3, 3)
    torch.testing.assert_close(decoder(queries, patches)[:, 2:4], decoder(queries[:, 2:4], patches))


def test_gaussian_weights() -> None:
    aggregation = GaussianAggregation(3)
    assert aggregation.weights.tolist() == pytest.approx([0.13534, 0.60653, 1.0], abs=1e-5)
    maps = [torch.full((1, 2), value) for value in (1.0, 10.0, 100.0)]
    assert aggregation(maps)[0, 0].item() == pytest.approx(0.13534 + 6.0653 + 100, abs=1e-3)
    single = GaussianAggregation(1)
    assert list(single.parameters()) == []
    assert single(maps[:1]) is maps[0]
