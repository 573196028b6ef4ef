"""The losses against a plain, slow writing of the same formulas with the same random draws."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.projects.point_rend.point_features import get_uncertain_point_coords_with_randomness, point_sample
from scipy.optimize import linear_sum_assignment

from fcclip.config import get_cfg
from fcclip.modeling.criterion import build_criterion
from tests.modeling.outputs import make_outputs, make_targets

POINTS = 128


@pytest.fixture
def criterion():
    cfg = get_cfg()
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    cfg.MODEL.MASK_FORMER.CLASS_WEIGHT, cfg.MODEL.MASK_FORMER.MASK_WEIGHT = 2.0, 5.0
    cfg.MODEL.MASK_FORMER.DICE_WEIGHT = 5.0
    cfg.MODEL.MASK_FORMER.TRAIN_NUM_POINTS = POINTS
    return build_criterion(cfg)


def make_deep_outputs(num_images, num_aux=2):
    layers = [make_outputs(num_images=num_images, seed=seed) for seed in range(num_aux + 1)]
    return {**layers[0], "aux_outputs": layers[1:]}


def match_slowly(layer, targets):
    pairs = []
    for image, target in enumerate(targets):
        points = torch.rand(1, POINTS, 2)
        x = point_sample(layer["pred_masks"][image][:, None], points.expand(5, -1, -1), align_corners=False)[:, 0]
        cost = torch.zeros(5, len(target["labels"]))
        for column, (label, mask) in enumerate(zip(target["labels"], target["masks"], strict=True)):
            t = point_sample(mask[None, None].float(), points, align_corners=False)[0]
            p = x.sigmoid()
            cost[:, column] = (
                5 * F.binary_cross_entropy_with_logits(x, t.expand_as(x), reduction="none").mean(1)
                + 5 * (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum() + 1))
                - 2 * layer["pred_logits"][image].softmax(-1)[:, label]
            )
        queries, columns = linear_sum_assignment(cost)
        pairs += [(image, query, column) for query, column in zip(queries, columns, strict=True)]
    return pairs


def losses_slowly(layer, targets):
    pairs = match_slowly(layer, targets)
    labels = torch.full((len(targets), 5), 3)
    for image, query, column in pairs:
        labels[image, query] = targets[image]["labels"][column]
    ce = F.cross_entropy(layer["pred_logits"].transpose(1, 2), labels, torch.tensor([1.0, 1.0, 1.0, 0.1]))
    masks = torch.stack([layer["pred_masks"][image, query] for image, query, _ in pairs])[:, None]
    truth = torch.stack([targets[image]["masks"][column] for image, _, column in pairs])[:, None].float()
    points = get_uncertain_point_coords_with_randomness(masks, lambda x: -x.abs(), POINTS, 3.0, 0.75)
    x = point_sample(masks, points, align_corners=False)[:, 0]
    t = point_sample(truth, points, align_corners=False)[:, 0]
    p = x.sigmoid()
    dice = (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).sum() / len(pairs)
    return [2 * ce, 5 * F.binary_cross_entropy_with_logits(x, t), 5 * dice]


def test_equal_seeds_give_the_losses_of_the_plain_writing(criterion):
    outputs, targets = make_deep_outputs(num_images=3), make_targets(2, 0, 3)
    torch.manual_seed(11)
    expected = [loss for layer in (outputs, *outputs["aux_outputs"]) for loss in losses_slowly(layer, targets)]
    torch.manual_seed(11)
    losses = criterion(outputs, targets)
    torch.testing.assert_close(list(losses.values()), expected, rtol=1e-5, atol=1e-6)


def test_names_and_their_order(criterion):
    losses = criterion(make_deep_outputs(1, num_aux=9), make_targets(2))
    suffixes = ["", *(f"_{i}" for i in range(9))]
    assert list(losses) == [f"loss_{kind}{suffix}" for suffix in suffixes for kind in ("ce", "mask", "dice")]
    assert list(criterion.state_dict()) == ["empty_weight"]
    assert criterion.empty_weight.tolist() == pytest.approx([1, 1, 1, 0.1])


def test_another_number_of_classes_is_explained(criterion):
    outputs = make_deep_outputs(1)
    outputs["pred_logits"] = outputs["pred_logits"][..., :-1]
    with pytest.raises(ValueError, match=r"NUM_CLASSES is 3, but the training vocabulary has 2 classes"):
        criterion(outputs, make_targets(2))


def test_without_deep_supervision_only_the_last_output_counts(criterion):
    criterion.deep_supervision = False
    assert list(criterion(make_deep_outputs(1), make_targets(2))) == ["loss_ce", "loss_mask", "loss_dice"]


def test_a_batch_without_targets_still_trains_the_classes(criterion):
    outputs = make_deep_outputs(2)
    for layer in (outputs, *outputs["aux_outputs"]):
        layer["pred_logits"].requires_grad_()
        layer["pred_masks"].requires_grad_()
    losses = criterion(outputs, make_targets(0, 0))
    assert all(losses[name] == 0 for name in losses if "ce" not in name)
    sum(losses.values()).backward()
    assert outputs["pred_logits"].grad.abs().sum() > 0
    assert outputs["pred_masks"].grad is not None, "a parameter without a gradient would stall distributed training"


def test_an_empty_mask_is_a_target_like_any_other(criterion):
    outputs, targets = make_deep_outputs(1), make_targets(1)
    targets[0]["masks"][:] = False
    outputs["pred_masks"].requires_grad_()
    losses = criterion(outputs, targets)
    assert losses["loss_mask"] > 0
    losses["loss_mask"].backward()
    assert (outputs["pred_masks"].grad.flatten(2).abs().sum(-1) > 0).sum() == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_predictions_give_nearly_the_same_losses(criterion, dtype):
    outputs, targets = make_deep_outputs(2), make_targets(2, 1)
    torch.manual_seed(0)
    full = criterion(outputs, targets)
    halve = lambda layer: {name: layer[name].to(dtype) for name in ("pred_logits", "pred_masks")}  # noqa: E731
    torch.manual_seed(0)
    half = criterion({**halve(outputs), "aux_outputs": [halve(layer) for layer in outputs["aux_outputs"]]}, targets)
    for name, loss in full.items():
        assert half[name].item() == pytest.approx(loss.item(), rel=0.03), name
