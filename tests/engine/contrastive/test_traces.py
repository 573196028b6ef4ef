import math

import numpy as np
import torch
import torch.nn.functional as F

from fcclip.clip.loading import load_clip
from fcclip.clip.vit_tokens import embed_patches, joint_tokens
from fcclip.data.panoshapes.traces import TraceBatch
from fcclip.engine.contrastive.tiles import normalize_pixels
from fcclip.engine.contrastive.traces import contrast, embed_traces, prepare_vit, window_of_positions


def test_a_trace_is_the_mean_of_its_patches_and_a_picture_its_class_token():
    torch.manual_seed(0)
    clip = load_clip("panoshapes_vit", "")
    images = torch.randint(0, 256, (2, 3, 160, 160), dtype=torch.uint8)
    patches = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 0], [399, 20, 399, 20, 399, 20, 399, 20]])
    batch = TraceBatch(images, ["one", "two"], ["three"], torch.tensor([1, 0]), patches, torch.tensor([0, 0]))
    with torch.no_grad():
        pictures, traces = embed_traces(clip.model, batch)
        tokens, grid = joint_tokens(clip.model.visual, normalize_pixels(images))
        whole = clip.model.encode_image(normalize_pixels(images), normalize=True)
    assert grid == (20, 20)
    assert torch.allclose(pictures, whole, atol=1e-5)
    expected = torch.stack([tokens[1, 1], (tokens[0, 21] + tokens[0, 400]) / 2])
    assert torch.allclose(traces, F.normalize(expected, dim=-1), atol=1e-5)


def test_positions_of_a_window_are_a_part_of_the_whole_grid():
    visual = load_clip("panoshapes_vit", "").model.visual
    with torch.no_grad():
        numbers = torch.arange(401.0)[:, None].expand(-1, 128)
        visual.positional_embedding.copy_(numbers)
    torch.manual_seed(1)
    corners = set()
    for _ in range(20):
        window = window_of_positions(visual, 144)[:, 0]
        assert window[0] == 0
        grid = window[1:].view(18, 18)
        assert torch.equal(grid - grid[0, 0], torch.arange(18)[:, None] * 20.0 + torch.arange(18))
        corners.add(int(grid[0, 0]))
    assert len(corners) > 3
    assert corners <= {1 + 20 * row + column for row in range(3) for column in range(3)}


def test_the_contrast_of_distinct_captions_is_clips():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 5, generator=generator)
    truth = torch.arange(5)
    expected = (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2
    assert torch.allclose(contrast(logits, truth), expected)


def test_pictures_of_one_caption_share_it():
    logits = torch.tensor([[50.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    shared = contrast(logits, torch.tensor([0, 0, 1]))
    assert torch.allclose(shared, torch.tensor(np.log(2) / 4, dtype=torch.float32))  # one caption, two right pictures
    assert contrast(logits, torch.tensor([0, 1, 1])) > 10


@torch.no_grad()
def test_a_prepared_vit_looks_at_neighbours_and_at_like_patches():
    torch.manual_seed(0)
    visual = load_clip("panoshapes_vit", "").model.visual.eval()
    prepare_vit(visual)
    tokens, _ = embed_patches(visual, torch.randn(1, 3, 160, 160))
    middle = 1 + 10 * 20 + 10
    for number, block in enumerate(visual.transformer.resblocks):
        weights = block.attn.in_proj_weight[:256] @ block.ln_1(tokens)[0].T
        queries, keys = weights.unflatten(0, (2, 4, 32))
        attended = (queries[:, :, middle, None] * keys).sum(dim=1).argmax(dim=1).tolist()
        rows, columns = zip(*(divmod(place - 1, 20) for place in attended), strict=True)
        for row, column in zip(rows[:3], columns[:3], strict=True):
            assert abs(math.hypot(row - 10, column - 10) - (1 + number // 2)) < 0.8
        assert len(set(attended[:3])) == 3
        assert math.hypot(rows[3] - 10, columns[3] - 10) < 2  # noise is like noise, above all nearby
        tokens = block(tokens)
