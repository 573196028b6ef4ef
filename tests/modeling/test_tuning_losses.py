"""The losses of MAFT+ and OVRCOAT against plain writings of their formulas."""

import pytest
import torch
import torch.nn.functional as F

from fcclip.modeling.matcher import Match
from fcclip.modeling.tuning_losses import (
    compensation_loss,
    gram_loss,
    matched_cross_entropy,
    ranking_loss,
    soft_overlap,
)


def test_soft_overlap_of_probabilities():
    logits = torch.tensor([[[20.0, -20.0]], [[0.0, 0.0]]])
    masks = torch.tensor([[[True, False]]])
    assert soft_overlap(logits, masks)[0].tolist() == pytest.approx([1, 0.5 / 1.5], abs=1e-6)


def test_ranking_loss_compares_probabilities_with_stretched_overlaps():
    logits = torch.tensor([[[20.0, -20.0]], [[0.0, 0.0]], [[-20.0, -20.0]]])[None]
    targets = [{"labels": torch.tensor([1]), "masks": torch.tensor([[[True, False]]])}]
    class_logits = torch.zeros(1, 3, 2, requires_grad=True)  # every probability is a half
    overlaps = [1, 1 / 3, 0]
    loss = ranking_loss(class_logits, logits, targets)
    assert loss.item() == pytest.approx(sum(0.5 * (0.5 - u) ** 2 for u in overlaps) / 3, rel=1e-5)
    loss.backward()
    assert class_logits.grad[0, 0, 1] < 0 < class_logits.grad[0, 2, 1]
    none = [{"labels": torch.zeros(0, dtype=torch.long), "masks": torch.zeros(0, 1, 2, dtype=torch.bool)}]
    assert ranking_loss(class_logits, logits, none) == 0


@pytest.mark.parametrize("size", [(8, 8), (6, 8)])
def test_compensation_loss(size):
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, *size), torch.randn(2, 3, *size)
    side, width = max(size), size[1]
    ours, theirs = (
        F.interpolate(x.clamp(min=0), size=(side, side), mode="bilinear", align_corners=False) for x in (a, b)
    )

    def sums(x):
        rows = []
        for parts in (1, 2, 4):
            window = width // parts
            count = side // window
            pooled = x[..., : count * window, : count * window].reshape(2, 3, count, window, count, window).mean((3, 5))
            rows += [pooled.sum(2), pooled.sum(3)]
        return torch.cat(rows, -1)

    expected = F.smooth_l1_loss(sums(ours), sums(theirs))
    torch.testing.assert_close(compensation_loss(a, b), expected)
    assert compensation_loss(a, a) == 0


def test_probabilities_of_matched_queries_go_through_a_softmax_twice():
    class_logits = torch.tensor([[[2.0, 0.0], [0.0, 5.0], [1.0, 1.0]]])
    match = Match(torch.tensor([0, 0]), torch.tensor([1, 0]), torch.tensor([0, 1]))
    labels = torch.tensor([1, 0])
    probabilities = class_logits[0].softmax(-1)
    expected = -(probabilities[1].log_softmax(-1)[1] + probabilities[0].log_softmax(-1)[0]) / 2
    torch.testing.assert_close(matched_cross_entropy(class_logits, match, labels), expected)
    nothing = torch.zeros(0, dtype=torch.long)
    assert matched_cross_entropy(class_logits, Match(nothing, nothing, nothing), nothing) == 0


def test_gram_loss_compares_cosines_of_channels():
    a = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    b = torch.tensor([[[[1.0, 0.0]], [[1.0, 0.0]]]])
    assert gram_loss(a, b).item() == pytest.approx(0.5)
    assert gram_loss(a, 3 * a).item() == pytest.approx(0, abs=1e-12)
