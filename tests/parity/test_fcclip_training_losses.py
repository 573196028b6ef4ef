"""The published system's recorded training losses, over twelve seeds of the points at which masks are compared."""

import pytest
import torch
from detectron2.structures import Instances

from fcclip.engine.parameters import count_parameters
from tests.shared import needs_shared

pytestmark = needs_shared

SEEDS = range(12)


def ground_truth():
    masks = torch.zeros(3, 224, 288, dtype=torch.bool)
    masks[0, 20:120, 30:140] = True
    masks[1, :80] = True
    masks[1, 20:80, 30:140] = False
    masks[2, 150:] = True
    instances = Instances((224, 288))
    instances.gt_classes, instances.gt_masks = torch.tensor([0, 3, 4]), masks
    return instances


@torch.no_grad()
def losses_of_seeds(model, image):
    """(seeds, losses) and their names. Before the criterion nothing is random, so its inputs serve all seeds."""
    inputs = []
    hook = model.criterion.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments))
    model([{"image": image, "instances": ground_truth()}])
    hook.remove()
    rows = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        losses = model.criterion(*inputs[0])
        rows.append(torch.stack(list(losses.values())))
    return torch.stack(rows).double(), list(losses)


def test_every_loss_equals_the_published_one(model, reference):
    model.train()
    try:
        losses, names = losses_of_seeds(model, reference["image"])
    finally:
        model.eval()
    assert names == list(reference["losses"])
    expected = torch.tensor([reference["losses"][name] for name in names], dtype=torch.float64)
    torch.testing.assert_close(losses.mean(0), expected[:, 0], rtol=1e-5, atol=1e-5)
    # The same seeds draw the same points, so that the spread is the same as well.
    assert losses.std(0, unbiased=False).numpy() == pytest.approx(expected[:, 1].numpy(), rel=0.01, abs=1e-4)


def test_number_of_parameters(model):
    expected = {"total": 123_040_546, "trainable": 21_033_409, "frozen": 102_007_137, "frozen without text": 38_316_897}
    assert count_parameters(model) == expected
