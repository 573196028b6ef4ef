import math

import pytest
import torch

from fcclip.modeling.classification import classify, geometric_ensemble
from fcclip.text import TextClassifier


def test_class_score_is_that_of_its_best_synonym() -> None:
    text = TextClassifier.build(torch.eye(3), [0, 0, 1])
    logits = classify(torch.tensor([[[0.0, 2.0, 0.0], [1.0, 1.0, 1.0]]]), text, torch.tensor(0.0))
    torch.testing.assert_close(logits, torch.tensor([[[1.0, 0.0], [3**-0.5, 3**-0.5]]]))


def test_temperature_is_capped() -> None:
    text = TextClassifier.build(torch.eye(2), [0, 1])
    logits = classify(torch.tensor([[[1.0, 0.0]]]), text, torch.tensor(math.log(1e6)))
    torch.testing.assert_close(logits, torch.tensor([[[100.0, 0.0]]]))


def test_gradient_goes_to_the_best_synonym_alone() -> None:
    text = TextClassifier.build(torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]).requires_grad_(), [0, 0, 1])
    classify(torch.tensor([[[1.0, 0.1]]]), text, torch.tensor(0.0))[..., 0].sum().backward()
    assert text.embeddings.grad is not None
    assert text.embeddings.grad[1].abs().sum() == 0


def published_ensemble(in_vocab, out_vocab, seen, alpha, beta):
    """The formula of the paper as it is written: products of powers of probabilities."""
    p_in, p_out = in_vocab[..., :-1].softmax(-1), out_vocab.softmax(-1)
    joint = (p_in ** (1 - alpha) * p_out**alpha).log() * seen + (p_in ** (1 - beta) * p_out**beta).log() * (~seen)
    void = in_vocab.softmax(-1)[..., -1:]
    return torch.cat([joint.softmax(-1) * (1 - void), void], dim=-1)


def test_ensemble_equals_the_published_formula() -> None:
    torch.manual_seed(0)
    in_vocab, out_vocab = 5 * torch.randn(2, 9, 8), 5 * torch.randn(2, 9, 7)
    seen = torch.tensor([True, False, True, True, False, False, True])
    exponents = torch.where(seen, 0.4, 0.8)
    expected = published_ensemble(in_vocab, out_vocab, seen, 0.4, 0.8)
    result = geometric_ensemble(in_vocab, out_vocab, exponents).exp() - 1e-8
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=0)


def test_ensemble_is_finite_where_the_formula_is_not() -> None:
    in_vocab = torch.tensor([[[300.0, 0.0, -300.0, 0.0]]])
    out_vocab = torch.tensor([[[-300.0, 0.0, 300.0]]])
    seen = torch.tensor([True, False, True])
    assert published_ensemble(in_vocab, out_vocab, seen, 0.4, 0.8).isnan().any()
    result = geometric_ensemble(in_vocab, out_vocab, torch.where(seen, 0.4, 0.8))
    assert result.isfinite().all()
    assert result.exp().sum().item() == pytest.approx(1, abs=1e-6)


def test_exponent_zero_leaves_the_first_classifier() -> None:
    in_vocab, out_vocab = torch.randn(1, 4, 6), torch.randn(1, 4, 5)
    result = geometric_ensemble(in_vocab, out_vocab, torch.zeros(1, 4, 5))
    torch.testing.assert_close(result.exp(), in_vocab.softmax(-1) + 1e-8)


def test_trust_in_clip_makes_void_less_likely_where_clip_is_sure() -> None:
    torch.manual_seed(0)
    in_vocab, out_vocab, exponents = torch.randn(2, 3, 5), 4 * torch.randn(2, 3, 4), torch.full((4,), 0.6)
    plain = geometric_ensemble(in_vocab, out_vocab, exponents).exp()
    trusting = geometric_ensemble(in_vocab, out_vocab, exponents, clip_trust=0.5).exp()
    sureness = out_vocab.softmax(dim=-1).amax(dim=-1)
    torch.testing.assert_close(trusting[..., -1], plain[..., -1] * (1 - 0.5 * sureness), atol=1e-6, rtol=1e-5)
    shares = [table[..., :-1] / table[..., :-1].sum(dim=-1, keepdim=True) for table in (plain, trusting)]
    torch.testing.assert_close(*shares, atol=1e-5, rtol=1e-5)
