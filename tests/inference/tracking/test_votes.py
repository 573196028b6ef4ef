import pytest
import torch

from fcclip.inference.tracking.votes import Votes


def test_the_mean_of_what_was_added():
    votes = Votes()
    for value in (1.0, 3.0):
        votes.add(torch.full((2, 3), value))
    assert votes.mean().tolist() == [[2.0] * 3] * 2


def test_decay_lets_the_past_weigh_less():
    votes = Votes(decay=0.5)
    for value in (1.0, 4.0):
        votes.add(torch.full((1, 1), value))
    assert votes.mean().item() == pytest.approx((0.5 * 1 + 4) / 1.5)


def test_a_cleared_slot_starts_anew_and_others_go_on():
    votes = Votes()
    votes.add(torch.tensor([[1.0], [1.0]]))
    votes.clear(torch.tensor([True, False]))
    votes.add(torch.tensor([[5.0], [5.0]]))
    assert votes.mean().flatten().tolist() == [5.0, 3.0]


def test_nobody_voted():
    votes = Votes()
    votes.add(torch.zeros(1, 1))
    votes.forget()
    with pytest.raises(RuntimeError, match="no frame"):
        votes.mean()
