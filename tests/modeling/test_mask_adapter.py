import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fcclip.modeling.mask_adapter import MASKAdapterHead, distinct_masks, weighted_means
from tests.seeded import seed_by_name


def adapter(**options: object) -> MASKAdapterHead:
    module = MASKAdapterHead(embed_dim=12, channels=8, mask_channels=4, maps=3, **options)
    seed_by_name(module)
    return module


@pytest.fixture
def places() -> Tensor:
    return torch.randn(2, 12, 3, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks() -> Tensor:
    """Logits (2, 6, 24, 40) at stride 4 of the places; the last three masks are empty."""
    masks = torch.randn(2, 6, 24, 40, generator=torch.Generator().manual_seed(2))
    masks[:, 3:] = -5
    return masks


def one_map(module: MASKAdapterHead, places: Tensor, mask: Tensor) -> Tensor:
    """What the paper says of one mask (H, W) of one image (E, h, w), step by step."""
    small = F.interpolate(mask[None, None], size=(12, 20), mode="bilinear", align_corners=False)
    x = module.fuse(places[None] + module.mask_downscaling(small))
    for block in (module.cnext1, module.cnext2, module.cnext3):
        inner = F.layer_norm(block.dwconv(x).movedim(1, -1), (8,), block.norm.weight, block.norm.bias, 1e-6)
        x = x + (block.gamma * block.pwconv2(F.gelu(block.pwconv1(inner)))).movedim(-1, 1)
    return module.final(F.layer_norm(x.movedim(1, -1), (8,), module.norm.weight, module.norm.bias).movedim(-1, 1))[0]


def test_maps_of_each_mask_are_those_of_the_plain_formula(places, masks) -> None:
    module, binary = adapter(), (masks > 0).float()
    with torch.no_grad():
        maps = module(places, binary)
        assert maps.shape == (2, 6, 3, 3, 5)
        for image in range(2):
            for mask in range(6):
                expected = one_map(module, places[image], binary[image, mask])
                torch.testing.assert_close(maps[image, mask], expected, atol=1e-5, rtol=1e-5)


def test_recomputing_gives_the_same_gradients(places, masks) -> None:
    gradients = []
    for recompute in (False, True):
        module = adapter(recompute=recompute)
        module(places, (masks > 0).float()).square().sum().backward()
        gradients.append([parameter.grad for parameter in module.parameters()])
    torch.testing.assert_close(*gradients)
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])


def test_weighted_means() -> None:
    features, maps = torch.randn(2, 7, 3, 5), torch.randn(2, 4, 6, 3, 5)
    weights = maps.sigmoid()
    weights = weights / weights.sum(dim=(-2, -1), keepdim=True)
    expected = torch.einsum("bnkhw,bchw->bnkc", weights, features)
    torch.testing.assert_close(weighted_means(features, maps), expected)


@pytest.mark.parametrize("chunk_bytes", [1, 2**26])
def test_equal_masks_are_embedded_once_and_chunks_change_nothing(places, masks, chunk_bytes) -> None:
    module, features = adapter(threshold=0.6, chunk_bytes=chunk_bytes), torch.randn(2, 9, 3, 5)
    head, rows = torch.nn.Linear(9, 12), []

    def embed(pooled: Tensor) -> Tensor:
        rows.append(pooled.shape[1])
        return head(pooled).square()

    with torch.no_grad():
        embeddings = module.embed_masks(features, places, masks, embed)
        pooled = weighted_means(features, module(places, (masks.sigmoid() > 0.6).float()))
        torch.testing.assert_close(embeddings, head(pooled).square().mean(dim=2), atol=1e-5, rtol=1e-5)
    assert sum(rows) == 2 * 4 * module.maps  # three masks and the empty one, of each image
    assert (max(rows) == module.maps) == (chunk_bytes == 1)


def test_a_recorded_graph_keeps_every_mask() -> None:
    masks = torch.zeros(4, 3, 3, dtype=torch.bool)
    assert len(distinct_masks(masks)[0]) == 1
    traced = torch.jit.trace(lambda x: distinct_masks(x)[0], masks, check_trace=False)
    masks[1:3, 0] = True
    assert torch.equal(traced(masks), masks)
