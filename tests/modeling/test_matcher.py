"""Matching: costs by their formulas, the assignment of least cost, images without targets."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from fcclip.modeling.matcher import HungarianMatcher, Targets, dice_cost, mask_cost
from fcclip.modeling.points import sample_logits
from tests.modeling.outputs import make_outputs, make_targets


def test_costs_equal_their_definitions():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 50, generator=generator) * 20
    truth = torch.rand(3, 50, generator=generator)
    for query, target in itertools.product(range(4), range(3)):
        bce = F.binary_cross_entropy_with_logits(logits[query], truth[target])
        torch.testing.assert_close(mask_cost(logits, truth)[query, target], bce, rtol=1e-5, atol=1e-5)
        p, t = logits[query].sigmoid(), truth[target]
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        torch.testing.assert_close(dice_cost(logits, truth)[query, target], dice)


def test_matching_has_the_least_total_cost():
    outputs = make_outputs(num_images=1, num_queries=4)
    (target,) = make_targets(3)
    points = torch.rand(1, 200, 2, generator=torch.Generator().manual_seed(2))
    logits = sample_logits(outputs["pred_masks"], points)[0]
    truth = sample_logits(target["masks"][None].float(), points)[0]
    cost = (
        5 * mask_cost(logits, truth)
        + 5 * dice_cost(logits, truth)
        - 2 * outputs["pred_logits"][0].softmax(-1)[:, target["labels"]]
    )
    best = min(
        itertools.permutations(range(4), 3), key=lambda queries: sum(cost[q, t].item() for t, q in enumerate(queries))
    )
    matcher = HungarianMatcher(class_weight=2, mask_weight=5, dice_weight=5)
    (match,) = matcher([outputs], Targets.join([target]), [points])
    assert set(zip(match.query.tolist(), match.target.tolist(), strict=True)) == {(q, t) for t, q in enumerate(best)}
    assert match.query.tolist() == sorted(match.query.tolist())


def test_every_output_and_image_is_matched_on_its_own():
    layers = [make_outputs(seed=seed) for seed in (0, 7)]
    targets = make_targets(2, 3)
    points = [torch.rand(2, 100, 2, generator=torch.Generator().manual_seed(seed)) for seed in (3, 4)]
    matcher = HungarianMatcher(2, 5, 5)
    together = matcher(layers, Targets.join(targets), points)
    for layer, coords, match in zip(layers, points, together, strict=True):
        for image, (first, count) in enumerate(((0, 2), (2, 3))):
            alone = {name: values[image : image + 1] for name, values in layer.items()}
            (single,) = matcher([alone], Targets.join(targets[image : image + 1]), [coords[image : image + 1]])
            own = match.image == image
            assert own.sum() == count
            assert torch.equal(match.query[own], single.query)
            assert torch.equal(match.target[own] - first, single.target)


def test_all_costs_travel_to_the_cpu_in_one_copy(monkeypatch):
    copies = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: copies.append(tensor.shape) or tensor)
    layers = [make_outputs(seed=seed) for seed in range(3)]
    HungarianMatcher(2, 5, 5)(layers, Targets.join(make_targets(2, 4)), [torch.rand(2, 20, 2) for _ in layers])
    assert copies == [(3, 2, 5, 4)], "layers, images, queries, most targets of an image"


def test_images_without_targets_and_more_targets_than_queries():
    outputs = make_outputs(num_images=2, num_queries=3)
    targets = Targets.join(make_targets(0, 5))
    (match,) = HungarianMatcher(2, 5, 5)([outputs], targets, [torch.rand(2, 20, 2)])
    assert match.image.tolist() == [1, 1, 1]
    assert sorted(match.query.tolist()) == [0, 1, 2]
    assert len(set(match.target.tolist())) == targets.num_matched(3) == 3


def test_no_targets_at_all():
    (match,) = HungarianMatcher(2, 5, 5)(
        [make_outputs(num_images=2)], Targets.join(make_targets(0, 0)), [torch.rand(2, 20, 2)]
    )
    assert len(match.image) == len(match.query) == len(match.target) == 0


def test_joined_masks_are_padded_right_and_below():
    small, large = make_targets(1, size=(4, 6)) + make_targets(2, size=(8, 5))
    joined = Targets.join([small, large])
    assert joined.masks.shape == (3, 8, 6)
    assert torch.equal(joined.masks[0, :4, :6], small["masks"][0])
    assert not joined.masks[0, 4:].any()
    assert joined.padded_rows().tolist() == [[0, 0], [1, 2]]


def test_predictions_that_are_not_finite_are_named():
    outputs = make_outputs(num_images=1)
    outputs["pred_masks"][0, 2] = float("nan")
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        HungarianMatcher(2, 5, 5)([outputs], Targets.join(make_targets(2)), [torch.rand(1, 20, 2)])
