import torch

from fcclip.clip.convnext import ConvNeXtTower
from fcclip.clip.loading import load_clip
from fcclip.clip.vit_tokens import joint_tokens, patch_map
from fcclip.data.panoshapes.batches import Mosaics
from fcclip.engine.contrastive.tiles import embed_masks, embed_tiles, normalize_pixels
from tests.tiny import CLIP_DESCRIPTIONS


def pictures(count: int, side: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8)


def test_tiles_are_pooled_on_their_own():
    clip = load_clip(str(CLIP_DESCRIPTIONS["convnext"]), "")
    clip.model.eval()
    images = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)
    with torch.no_grad():
        tiles = embed_tiles(clip.model, Mosaics(images, grid=2)).view(2, 4, -1)
        tower = ConvNeXtTower(clip.model.visual)
        dense = tower.extract_features(normalize_pixels(images))["clip_vis_dense"]
        corner = torch.full((2, 1, *dense.shape[-2:]), -1.0)
        corner[..., : dense.shape[-2] // 2, dense.shape[-1] // 2 :] = 1
        assert torch.allclose(tiles[:, 1:2], tower.embed_masks(dense, corner), atol=1e-5)


@torch.no_grad()
def test_masks_of_a_vit_are_means_of_their_patches():
    clip = load_clip("panoshapes_vit", "")
    clip.model.eval()
    images = normalize_pixels(pictures(1, 64))
    masks = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    masks[..., :16, 8:32] = True  # patches of 8 pixels
    patches = patch_map(*joint_tokens(clip.model.visual, images))
    expected = patches[0, :, :2, 1:4].flatten(1).mean(dim=1)
    assert torch.allclose(embed_masks(clip.model, images, masks)[0, 0], expected, atol=1e-5)
