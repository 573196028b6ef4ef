import torch

from fcclip.clip.mask_pooling import mask_pool


def test_averages_inside_the_mask() -> None:
    features = torch.arange(6.0).view(1, 1, 2, 3)
    masks = torch.tensor([[[[1.0, -1.0, 2.0], [0.0, -3.0, -1.0]]]])
    torch.testing.assert_close(mask_pool(features, masks), torch.tensor([[[1.0]]]))


def test_empty_mask_gives_zero() -> None:
    pooled = mask_pool(torch.ones(2, 4, 3, 3), -torch.ones(2, 5, 3, 3))
    assert torch.equal(pooled, torch.zeros(2, 5, 4))


def test_gradient_reaches_the_features_only() -> None:
    features = torch.randn(1, 2, 3, 3, requires_grad=True)
    masks = torch.randn(1, 4, 3, 3, requires_grad=True)
    mask_pool(features, masks).sum().backward()
    assert features.grad is not None
    assert masks.grad is None
