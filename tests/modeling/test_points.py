"""Points of the mask losses: drawn in the published order, chosen by uncertainty, read bilinearly."""

import pytest
import torch
from detectron2.projects.point_rend.point_features import get_uncertain_point_coords_with_randomness, point_sample

from fcclip.modeling.points import PointSampler, sample_logits, sample_masks


def test_sample_masks_reads_what_grid_sample_reads():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(5, 13, 31, generator=generator) > 0.5
    rows = torch.tensor([4, 0, 0, 2])
    coords = torch.rand(4, 500, 2, generator=generator)
    expected = point_sample(masks[rows][:, None].float(), coords, align_corners=False)[:, 0]
    torch.testing.assert_close(sample_masks(masks, rows, coords), expected, rtol=0, atol=1e-6)


def test_sample_masks_shares_points_and_reads_zero_outside():
    masks = torch.ones(2, 4, 4, dtype=torch.bool)
    corners_and_centre = torch.tensor([[[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]])
    result = sample_masks(masks, torch.tensor([0, 1]), corners_and_centre)
    torch.testing.assert_close(result, torch.tensor([[0.25, 1.0, 0.25]] * 2))


def test_sample_masks_of_several_images_at_once():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(5, 13, 31, generator=generator) > 0.5
    rows, coords = torch.tensor([[0, 1, 2], [3, 4, 0]]), torch.rand(2, 50, 2, generator=generator)
    together = sample_masks(masks, rows, coords[:, None])
    assert together.shape == (2, 3, 50)
    for image in range(2):
        assert torch.equal(together[image], sample_masks(masks, rows[image], coords[image : image + 1]))


def test_sample_masks_of_nothing():
    result = sample_masks(torch.zeros(0, 4, 4, dtype=torch.bool), torch.zeros(0, dtype=torch.long), torch.rand(0, 7, 2))
    assert result.shape == (0, 7)


def test_draws_and_selection_equal_detectron2s():
    sampler = PointSampler(num_points=64, oversample_ratio=3.0, importance_ratio=0.75)
    logits = torch.randn(6, 10, 12, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    for _ in range(2):
        torch.rand(1, 64, 2)
    expected = get_uncertain_point_coords_with_randomness(logits[:, None], lambda x: -x.abs(), 64, 3.0, 0.75)
    after = torch.rand(1)

    torch.manual_seed(5)
    draws = sampler.draw(num_images=2, num_masks=6, device=torch.device("cpu"))
    assert torch.rand(1) == after
    assert torch.equal(sampler.select(logits, draws), expected)


def test_selected_points_are_the_least_sure():
    sampler = PointSampler(num_points=40, oversample_ratio=4.0, importance_ratio=1.0)
    logits = torch.linspace(-8, 8, 32).expand(1, 32, 32)
    draws = sampler.draw(1, 1, torch.device("cpu"))
    chosen = sample_logits(logits[:, None], sampler.select(logits, draws)).abs()
    every = sample_logits(logits[:, None], draws.candidates).abs()
    assert chosen.shape == (1, 1, 40)
    assert chosen.max() <= every.flatten().kthvalue(40).values


@pytest.mark.parametrize("wrong", [(0, 3.0, 0.75), (10, 0.5, 0.75), (10, 3.0, 1.5)])
def test_impossible_settings_are_named(wrong):
    with pytest.raises(ValueError, match="MASK_FORMER"):
        PointSampler(*wrong)
