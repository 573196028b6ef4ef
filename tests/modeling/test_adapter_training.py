"""Which masks a mask adapter is trained on, and its losses."""

import math

import pytest
import torch

from fcclip.modeling.adapter_training import (
    UNLABELLED,
    AdapterLosses,
    LabelledMasks,
    MaskPairs,
    PairRule,
    draw_pairs,
    draw_truth,
    mean_cross_entropy,
    pairwise_iou,
)

RULE = PairRule(count=8, least_iou=0.7, compared_from=0.4, threshold=0.5)


def square(top, left, side=8, size=32):
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[top : top + side, left : left + side] = True
    return mask


def target(*squares):
    return {"labels": torch.arange(len(squares)), "masks": torch.stack(squares)}


def test_truth_is_drawn_without_empty_masks_and_without_repetition():
    squares = [square(0, left) for left in range(0, 24, 2)]
    everything = draw_truth(target(torch.zeros(32, 32, dtype=torch.bool), *squares), count=12)
    assert everything.labels.tolist() == list(range(1, 13))
    torch.manual_seed(0)
    drawn = draw_truth(target(*squares), count=5)
    assert len(set(drawn.labels.tolist())) == 5
    for mask, label in zip(drawn.masks, drawn.labels, strict=True):
        assert torch.equal(mask, squares[label].float())


def test_an_image_without_masks_has_an_empty_one_that_no_loss_counts():
    drawn = draw_truth({"labels": torch.zeros(0, dtype=torch.long), "masks": torch.zeros(0, 4, 6, dtype=torch.bool)}, 3)
    assert drawn.masks.shape == (1, 4, 6)
    assert drawn.labels.tolist() == [UNLABELLED]
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = mean_cross_entropy(logits, drawn.labels)
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


def test_iou_of_every_pair():
    a, b = square(0, 0), square(0, 4)
    found = pairwise_iou(torch.stack([a, b]), torch.stack([a, b, ~a]))
    assert found[0].tolist() == pytest.approx([1, 32 / 96, 0], abs=1e-6)
    assert found[1, 0].item() == pytest.approx(32 / 96, abs=1e-6)


def logits_of(*masks):
    """Mask logits at a quarter of the size."""
    return torch.stack([mask[::4, ::4].float() * 8 - 4 for mask in masks])


def test_a_truth_takes_any_prediction_that_hits_it_and_one_without_is_left_out():
    one, other, missed = square(0, 0, 16), square(16, 16, 16), square(0, 16, 16)
    narrower = one & square(0, 0, 12).any(dim=0)  # three quarters of it
    logits = logits_of(other, one, narrower, square(8, 8, 16))
    areas = set()
    for seed in range(20):
        torch.manual_seed(seed)
        pairs = draw_pairs(logits, target(one, other, missed), RULE)
        assert pairs.labels.tolist() == [0, 1]
        assert pairs.missing == 6
        assert torch.equal(pairs.truth, torch.stack([one, other])[:, ::4, ::4].float())
        areas.add(pairs.predicted[0].sum().item())
    assert areas == {16, 12}
    assert draw_pairs(logits, target(missed), RULE).labels.tolist() == []


def test_at_most_so_many_pairs():
    squares = [square(8 * row, 8 * column) for row in range(4) for column in range(4)]
    pairs = draw_pairs(logits_of(*squares), target(*squares), RULE)
    assert len(set(pairs.labels.tolist())) == 8
    assert pairs.missing == 0


def test_predictions_are_compared_from_one_threshold_and_shown_above_another():
    truth = square(0, 0, 16)
    logits = torch.where(truth[::4, ::4], 0.2, -8.0)[None]  # probability 0.55
    assert len(draw_pairs(logits, target(truth), RULE).labels) == 1
    assert draw_pairs(logits, target(truth), PairRule(8, 0.7, 0.4, 0.6)).predicted.sum() == 0
    assert len(draw_pairs(logits, target(truth), PairRule(8, 0.7, 0.6, 0.5)).labels) == 0


def embed(image, masks):
    """An embedding that depends on the area of a mask."""
    area = masks.flatten(1).mean(1, keepdim=True)
    return torch.cat([torch.ones_like(area), area], dim=1)


def classify(image, embeddings):
    return 3 * embeddings


def pairs_of(predicted, truth, missing=0, missing_prediction=0.0):
    labels = torch.zeros(len(predicted), dtype=torch.long)
    return MaskPairs(torch.stack(predicted).float(), torch.stack(truth).float(), labels, missing, missing_prediction)


def test_losses_of_the_warm_up_are_the_cross_entropy_over_the_images():
    truth = [
        LabelledMasks(torch.ones(1, 4, 4), torch.tensor([0])),
        LabelledMasks(torch.zeros(1, 4, 4), torch.tensor([1])),
    ]
    losses = AdapterLosses(2.0, 5.0, follows_truth=True)(embed, classify, truth)
    assert list(losses) == ["loss_ce"]
    expected = (math.log(2) + math.log(1 + math.exp(3))) / 2  # logits (3, 3) and (3, 0)
    assert losses["loss_ce"].item() == pytest.approx(2 * expected, rel=1e-6)


def test_cosine_loss_is_the_mean_over_the_pairs_that_are_asked_for():
    full, empty = torch.ones(4, 4), torch.zeros(4, 4)
    truth = [LabelledMasks(torch.ones(1, 4, 4), torch.tensor([0]))]
    distance = 1 - 1 / math.sqrt(2)  # embeddings (1, 1) and (1, 0)

    def cosine(pairs):
        return AdapterLosses(2.0, 5.0, follows_truth=True)(embed, classify, truth, [pairs])["loss_cosine"].item()

    assert cosine(pairs_of([full], [empty], missing=7)) == pytest.approx(5 * distance / 8, rel=1e-5)
    with_stand_in = pairs_of([full], [empty], missing=7, missing_prediction=1.0)
    assert cosine(with_stand_in) == pytest.approx(5 * distance, rel=1e-5)


def test_missing_pairs_equal_empty_masks_that_are_written_out():
    """The published code pads with them; here they are computed once or, where both sides are equal, not at all."""
    full, half, empty = torch.ones(4, 4), torch.cat([torch.ones(2, 4), torch.zeros(2, 4)]), torch.zeros(4, 4)
    truth = [LabelledMasks(torch.ones(1, 4, 4), torch.tensor([0]))]
    losses = AdapterLosses(2.0, 5.0, follows_truth=False)
    for value in (0.0, 1.0):
        short = pairs_of([full], [half], missing=2, missing_prediction=value)
        pad = torch.full((4, 4), value)
        written = MaskPairs(
            torch.stack([full, pad, pad]), torch.stack([half, empty, empty]), torch.tensor([0, -1, -1]), 0, 0.0
        )
        found, expected = losses(embed, classify, truth, [short]), losses(embed, classify, truth, [written])
        assert found["loss_cosine"].item() == pytest.approx(expected["loss_cosine"].item(), rel=1e-5)
        assert found["loss_ce"].item() == pytest.approx(expected["loss_ce"].item(), rel=1e-6)


@pytest.mark.parametrize("follows_truth", [True, False])
def test_whether_the_truth_is_drawn_to_the_prediction(follows_truth):
    truth = [LabelledMasks(torch.ones(1, 4, 4), torch.tensor([-1]))]
    shift = torch.zeros(3, 2, requires_grad=True)  # of the truth, the prediction, the prediction's truth
    losses = AdapterLosses(2.0, 5.0, follows_truth)
    pairs = [pairs_of([torch.ones(4, 4)], [torch.zeros(4, 4)])]
    losses(lambda image, masks: embed(image, masks) + shift, classify, truth, pairs)["loss_cosine"].backward()
    assert shift.grad[1].any()
    assert bool(shift.grad[2].any()) is not follows_truth
