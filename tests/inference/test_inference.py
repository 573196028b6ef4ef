import pytest
import torch
from torch import Tensor

from fcclip.inference import masks as masks_module
from fcclip.inference.instance import boxes_of_masks, instance_inference
from fcclip.inference.masks import MaskUpsampler, bands, resize_matrix
from fcclip.inference.panoptic import panoptic_inference
from fcclip.inference.semantic import semantic_inference
from tests.inference import reference

PADDED, IMAGE = (64, 96), (57, 90)
OUTPUTS = [(57, 90), (40, 61), (123, 200)]
THINGS = {0, 2}


@pytest.fixture(autouse=True)
def small_bands(monkeypatch) -> None:
    monkeypatch.setattr(masks_module, "BAND_BYTES", 4 * 12 * 100 * 7)  # several bands, the last one shorter


def blobs(queries: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Class logits (Q, 5) and masks (Q, 16, 24) that overlap: some void, some stuff twice."""
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.arange(16.0)[:, None], torch.arange(24.0)
    center_y, center_x, radius = torch.rand(3, queries, 1, 1, generator=generator) * torch.tensor([16.0, 24, 6]).view(
        3, 1, 1, 1
    )
    masks = 20 - 20 * ((y - center_y) ** 2 + (x - center_x) ** 2) / (radius + 1) ** 2
    return 4 * torch.randn(queries, 5, generator=generator), masks.clamp(-20, 12)


@pytest.mark.parametrize("output", OUTPUTS)
def test_bands_join_to_the_published_upsampling(output) -> None:
    _, masks = blobs()
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, output)
    joined = torch.cat([upsampler.band(start, stop) for start, stop in bands(output, 12)], dim=1)
    assert len(list(bands(output, 12))) > 2
    expected = reference.full_masks(masks, PADDED, IMAGE, output)
    torch.testing.assert_close(joined, expected, atol=2e-5, rtol=1e-5)
    some = upsampler.band(3, 9, torch.tensor([5, 1]))
    torch.testing.assert_close(some, expected[[5, 1], 3:9], atol=2e-5, rtol=1e-5)


def test_resize_matrix_is_the_resize() -> None:
    x = torch.randn(1, 7, 3)
    expected = reference.resize(x, (19, 3))[0]
    torch.testing.assert_close(resize_matrix(7, 19, x.device) @ x[0], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
def test_semantic_scores(output) -> None:
    logits, masks = blobs()
    expected = reference.semantic(logits, reference.full_masks(masks, PADDED, IMAGE, output))
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, output)
    scores = semantic_inference(logits, upsampler)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    labels = semantic_inference(logits, upsampler, labels_only=True)
    assert torch.equal(labels, scores.argmax(0))


@pytest.mark.parametrize("output", OUTPUTS)
def test_semantic_scores_resized_after_inference(output) -> None:
    logits, masks = blobs()
    expected = reference.semantic(logits, reference.resize(masks, PADDED))[:, : IMAGE[0], : IMAGE[1]]
    expected = reference.resize(expected, output)
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, IMAGE)
    scores = semantic_inference(logits, upsampler, output)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(semantic_inference(logits, upsampler, output, labels_only=True), scores.argmax(0))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("object_threshold", "overlap"), [(0.0, 0.8), (0.0, 0.0), (0.6, 0.3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_panoptic_map_and_segments(output, object_threshold, overlap, seed) -> None:
    logits, masks = blobs(queries=20, seed=seed)
    full = reference.full_masks(masks, PADDED, IMAGE, output)
    expected_map, expected = reference.panoptic(logits, full, THINGS, object_threshold, overlap)
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, output)
    panoptic_map, segments = panoptic_inference(logits, upsampler, THINGS, object_threshold, overlap)
    assert [segment.as_info() for segment in segments] == expected
    assert len(segments) > 1
    assert panoptic_map.dtype == torch.int32
    assert (panoptic_map != expected_map).sum() <= 2  # pixels where two queries tie
    assert all(0 < segment.score <= 1 for segment in segments)


def test_panoptic_of_void_alone_is_empty() -> None:
    logits, masks = blobs()
    logits[:, -1] = 50
    panoptic_map, segments = panoptic_inference(logits, MaskUpsampler(masks, PADDED, IMAGE, IMAGE), THINGS, 0.0, 0.8)
    assert panoptic_map.shape == IMAGE
    assert not panoptic_map.any()
    assert segments == []


@pytest.mark.parametrize("output", OUTPUTS)
def test_instances(output) -> None:
    logits, masks = blobs()
    full = reference.full_masks(masks, PADDED, IMAGE, output)
    expected = sorted(reference.instances(logits, full, 30, THINGS), key=lambda entry: (entry[0], entry[1]))
    result = instance_inference(logits, MaskUpsampler(masks, PADDED, IMAGE, output), 30, THINGS)
    assert result.image_size == output
    assert len(result) == len(expected) > 5
    found = sorted(
        zip(result.pred_classes.tolist(), result.scores.tolist(), result.pred_masks, strict=True), key=lambda e: e[1]
    )
    for (label, score, mask), (_, want_label, want_score, want_mask) in zip(
        found, sorted(expected, key=lambda entry: entry[2]), strict=True
    ):
        assert label == want_label
        assert score == pytest.approx(want_score, abs=1e-5)
        assert (mask != want_mask.bool()).sum() <= 2


def test_fewer_pairs_than_asked_for_is_no_error() -> None:
    logits, masks = blobs(queries=3)
    result = instance_inference(logits, MaskUpsampler(masks, PADDED, IMAGE, IMAGE), 100)
    assert len(result) == 12
    nothing = instance_inference(logits, MaskUpsampler(masks, PADDED, IMAGE, IMAGE), 100, set())
    assert len(nothing) == 0
    assert nothing.pred_masks.shape == (0, *IMAGE)


def test_boxes_are_tight() -> None:
    masks = torch.zeros(3, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 9, 11] = True
    assert boxes_of_masks(masks).tolist() == [[3, 2, 9, 5], [11, 9, 12, 10], [0, 0, 0, 0]]
