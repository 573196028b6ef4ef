"""The losses against a plain computation with one map of targets a class, and the label maps they are given."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.modeling.zero_shot import loss
from fcclip.modeling.zero_shot.labels import pseudo_labels, seen_labels
from fcclip.modeling.zero_shot.loss import (
    NonMutuallyExclusiveLoss,
    SoftmaxLoss,
    build_loss,
    pixel_accuracy,
)


def reference(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Focal and dice loss, from their definitions."""
    targets = torch.stack([(labels == k) for k in range(logits.shape[1])], dim=1).double()
    x = logits.double()
    p = x.sigmoid()
    p_true = torch.where(targets > 0, p, 1 - p)
    alpha = torch.where(targets > 0, 0.25, 0.75)
    cross_entropy = F.binary_cross_entropy_with_logits(x, targets, reduction="none")
    focal = (alpha * (1 - p_true) ** 2 * cross_entropy).mean(dim=(-2, -1)).sum()
    present = targets.sum(dim=(-2, -1)) > 0
    overlap, sizes = (p * targets).sum(dim=(-2, -1)), (p + targets).sum(dim=(-2, -1))
    dice = (1 - (2 * overlap + 1) / (sizes + 1))[present].sum()
    pairs = max(int(present.sum()), 1)
    return 100 * focal.item() / pairs, dice.item() / pairs


def made(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (2, 9, 11), generator=generator)
    labels[labels == 3] = 255
    return 3 * torch.randn(2, 5, 9, 11, generator=generator), labels


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_their_definition(seed) -> None:
    logits, labels = made(seed)
    losses = NonMutuallyExclusiveLoss(5)(logits, labels)
    focal, dice = reference(logits, labels)
    assert losses["loss_mask"].item() == pytest.approx(focal, rel=1e-5)
    assert losses["loss_dice"].item() == pytest.approx(dice, rel=1e-5)


def test_ignored_pixels_may_be_left_out() -> None:
    """Then the loss is that of the labelled pixels alone, but for the number of pixels that a mean is over."""
    logits, labels = made()
    logits.requires_grad_()
    losses = NonMutuallyExclusiveLoss(5, ignored_as_negatives=False)(logits, labels)
    sum(losses.values()).backward()
    assert (logits.grad.movedim(1, -1)[labels == 255] == 0).all()
    per_image = [
        reference(logits[index : index + 1].movedim(1, -1)[labels[index : index + 1] != 255].T[None, :, None], kept)
        for index in range(2)
        for kept in [labels[index][labels[index] != 255][None, None]]
    ]
    pairs = [len(labels[index][labels[index] != 255].unique()) for index in range(2)]
    shares = [(labels[index] != 255).double().mean().item() for index in range(2)]
    focal = sum(share * found[0] * count for share, found, count in zip(shares, per_image, pairs, strict=True))
    dice = sum(found[1] * count for found, count in zip(per_image, pairs, strict=True))
    assert losses["loss_mask"].item() == pytest.approx(focal / sum(pairs), rel=1e-5)
    assert losses["loss_dice"].item() == pytest.approx(dice / sum(pairs), rel=1e-5)


def test_extreme_logits_stay_finite() -> None:
    logits, labels = made()
    logits = (100 * logits).requires_grad_()
    losses = NonMutuallyExclusiveLoss(5)(logits, labels)
    sum(losses.values()).backward()
    assert torch.isfinite(logits.grad).all()


def test_nothing_labelled() -> None:
    logits, labels = made()
    losses = NonMutuallyExclusiveLoss(5)(logits, torch.full_like(labels, 255))
    assert losses["loss_dice"].item() == 0
    assert losses["loss_mask"].item() == pytest.approx(reference(logits, torch.full_like(labels, 255))[0], rel=1e-5)


def test_softmax_loss_leaves_ignored_pixels_out() -> None:
    logits, labels = made()
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    torch.testing.assert_close(SoftmaxLoss()(logits, labels)["loss_mask"], expected)
    assert SoftmaxLoss()(logits, torch.full_like(labels, 255))["loss_mask"].item() == 0


def test_losses_by_name() -> None:
    assert isinstance(build_loss("nel", 3, 100, 1), NonMutuallyExclusiveLoss)
    assert isinstance(build_loss("softmax", 3, 100, 1), SoftmaxLoss)
    assert not build_loss("nel_labelled", 3, 100, 1).ignored_as_negatives
    with pytest.raises(ValueError, match="LOSS must be one of nel, nel_labelled, softmax, not 'bce'"):
        build_loss("bce", 3, 100, 1)


def test_accuracy() -> None:
    labels = torch.tensor([[[0, 1, 255, 1]]])
    logits = F.one_hot(torch.tensor([[[0, 0, 1, 1]]]), 2).permute(0, 3, 1, 2).float()
    assert pixel_accuracy(logits, labels).item() == pytest.approx(200 / 3)
    assert pixel_accuracy(logits, torch.full_like(labels, 255)).item() == 100


def test_unseen_pixels_are_ignored() -> None:
    labels = torch.tensor([0, 1, 2, 3, 4, 255])
    assert seen_labels(labels, {1, 3}, 5).tolist() == [0, 255, 1, 255, 2, 255]


def test_pseudo_labels_name_unseen_pixels_only() -> None:
    labels = torch.tensor([[[0, 1, 3, 255]]])
    logits = torch.zeros(1, 4, 1, 4)
    logits[:, 0] = 9.0  # the best class everywhere, but seen
    logits[0, 3, 0, 1] = 1.0
    logits[0, 1, 0, 2] = 1.0
    assert pseudo_labels(labels, logits, (1, 3)).tolist() == [[[0, 3, 1, 255]]]


def test_losses_are_divided_by_the_mean_of_all_processes(monkeypatch) -> None:
    """The other process has three pairs more than this one."""
    logits, labels = made()
    alone = NonMutuallyExclusiveLoss(5)(logits, labels)
    pairs = sum(len(part[part != 255].unique()) for part in labels)
    monkeypatch.setattr(loss.comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(loss.dist, "all_reduce", lambda count: count.mul_(2).add_(3))
    together = NonMutuallyExclusiveLoss(5)(logits, labels)
    for name, value in alone.items():
        assert together[name].item() == pytest.approx(value.item() * pairs / (pairs + 1.5), rel=1e-5)
