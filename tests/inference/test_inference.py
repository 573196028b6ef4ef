from collections.abc import Collection

import pytest
import torch
from detectron2.structures import Instances
from torch import Tensor

from fcclip.inference.bands import bands
from fcclip.inference.instance import InstanceInference, boxes_of_masks
from fcclip.inference.masks import MaskUpsampler, feed_bands, resize_matrix
from fcclip.inference.panoptic import PanopticInference
from fcclip.inference.semantic import SemanticInference, resized_semantic_inference
from tools import published as reference

PADDED, IMAGE = (64, 96), (57, 90)
OUTPUTS = [(57, 90), (40, 61), (123, 200)]
THINGS = frozenset({0, 2})
CHUNK = 4 * 12 * 100 * 7  # bytes: several bands, the last one shorter


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
    joined = torch.cat([upsampler.band(start, stop) for start, stop in bands(output, 12, CHUNK)], dim=1)
    assert len(list(bands(output, 12, CHUNK))) > 2
    expected = reference.full_masks(masks, PADDED, IMAGE, output)
    torch.testing.assert_close(joined, expected, atol=2e-5, rtol=1e-5)
    some = upsampler.select(torch.tensor([5, 1])).band(3, 9)
    torch.testing.assert_close(some, expected[[5, 1], 3:9], atol=2e-5, rtol=1e-5)


def test_resize_matrix_is_the_resize() -> None:
    x = torch.randn(1, 7, 3)
    expected = reference.resize(x, (19, 3))[0]
    torch.testing.assert_close(resize_matrix(7, 19) @ x[0], expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("output", OUTPUTS)
def test_semantic_scores(output) -> None:
    logits, masks = blobs()
    expected = reference.semantic(logits, reference.full_masks(masks, PADDED, IMAGE, output))
    scores, labels = SemanticInference(logits, output, CHUNK), SemanticInference(logits, output, CHUNK, True)
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, output), [scores, labels], CHUNK)
    torch.testing.assert_close(scores.result(), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(labels.result(), scores.result().argmax(0))


@pytest.mark.parametrize("output", OUTPUTS)
def test_semantic_scores_resized_after_inference(output) -> None:
    logits, masks = blobs()
    expected = reference.semantic(logits, reference.resize(masks, PADDED))[:, : IMAGE[0], : IMAGE[1]]
    expected = reference.resize(expected, output)
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, IMAGE)
    scores = resized_semantic_inference(logits, upsampler, output, CHUNK)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(resized_semantic_inference(logits, upsampler, output, CHUNK, True), scores.argmax(0))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("object_threshold", "overlap"), [(0.0, 0.8), (0.0, 0.0), (0.6, 0.3)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_panoptic_map_and_segments(output, object_threshold, overlap, seed) -> None:
    logits, masks = blobs(queries=20, seed=seed)
    full = reference.full_masks(masks, PADDED, IMAGE, output)
    expected_map, expected = reference.panoptic(logits, full, THINGS, object_threshold, overlap)
    inference = PanopticInference(logits, output, THINGS, object_threshold, overlap)
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, output), [inference], CHUNK)
    panoptic_map, segments = inference.result()
    assert [segment.as_info() for segment in segments] == expected
    assert len(segments) > 1
    assert panoptic_map.dtype == torch.int32
    assert (panoptic_map != expected_map).sum() <= 2  # pixels where two queries tie
    assert all(0 < segment.score <= 1 for segment in segments)


def test_panoptic_of_void_alone_is_empty() -> None:
    logits, masks = blobs()
    logits[:, -1] = 50
    inference = PanopticInference(logits, IMAGE, THINGS, 0.0, 0.8)
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, IMAGE), [inference], CHUNK)
    panoptic_map, segments = inference.result()
    assert panoptic_map.shape == IMAGE
    assert not panoptic_map.any()
    assert segments == []


def instances(logits: Tensor, masks: Tensor, output, count: int, class_ids: Collection[int] | None) -> Instances:
    inference = InstanceInference(logits, output, count, class_ids)
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, output), [inference], CHUNK)
    return inference.result()


@pytest.mark.parametrize("output", OUTPUTS)
def test_instances(output) -> None:
    logits, masks = blobs()
    full = reference.full_masks(masks, PADDED, IMAGE, output)
    expected = sorted(reference.instances(logits, full, 30, THINGS), key=lambda entry: (entry[0], entry[1]))
    result = instances(logits, masks, output, 30, THINGS)
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
    result = instances(logits, masks, IMAGE, 100, None)
    assert len(result) == 12
    nothing = instances(logits, masks, IMAGE, 100, set())
    assert len(nothing) == 0
    assert nothing.pred_masks.shape == (0, *IMAGE)


def test_boxes_are_tight() -> None:
    masks = torch.zeros(3, 10, 12, dtype=torch.bool)
    masks[0, 2:5, 3:9] = True
    masks[1, 9, 11] = True
    assert boxes_of_masks(masks).tolist() == [[3, 2, 9, 5], [11, 9, 12, 10], [0, 0, 0, 0]]


def test_consumers_of_some_masks_get_theirs() -> None:
    logits, masks = blobs()
    alone = [InstanceInference(logits, IMAGE, 5, {1}), PanopticInference(logits, IMAGE, THINGS, 0.7, 0.1)]
    together = [InstanceInference(logits, IMAGE, 5, {1}), PanopticInference(logits, IMAGE, THINGS, 0.7, 0.1)]
    upsampler = MaskUpsampler(masks, PADDED, IMAGE, IMAGE)
    for consumer in alone:
        assert 0 < len(consumer.queries) < len(masks)
        feed_bands(upsampler, [consumer], CHUNK)
    feed_bands(upsampler, together, CHUNK)
    assert torch.equal(alone[0].result().pred_masks, together[0].result().pred_masks)
    assert torch.equal(alone[1].result()[0], together[1].result()[0])


@pytest.mark.parametrize("output", OUTPUTS)
def test_panoptic_thresholds_leave_uncertain_masks_out(output) -> None:
    logits, masks = blobs(queries=20)
    thresholds = (0.0, 0.7, 0.5, 1.0)
    best = logits.softmax(dim=-1).max(dim=-1)
    certain = best.values >= torch.tensor([*thresholds, 0.0])[best.indices]
    assert 3 < certain.sum() < 20
    alone = PanopticInference(logits[certain], output, THINGS, 0.0, 0.1)
    feed_bands(MaskUpsampler(masks[certain], PADDED, IMAGE, output), [alone], CHUNK)
    chosen = PanopticInference(logits, output, THINGS, 0.0, 0.1, thresholds)
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, output), [chosen], CHUNK)
    assert torch.equal(chosen.result()[0], alone.result()[0])
    assert 3 not in [segment.category_id for segment in chosen.result()[1]]


def test_instance_thresholds_are_those_of_scores() -> None:
    logits, masks = blobs()
    thresholds = [0.0, 0.6, 0.3, 0.9]
    inferences = [InstanceInference(logits, IMAGE, 30, None, chosen) for chosen in (None, thresholds)]
    feed_bands(MaskUpsampler(masks, PADDED, IMAGE, IMAGE), inferences, CHUNK)
    everything, some = (inference.result() for inference in inferences)
    kept = everything.scores >= torch.tensor(thresholds)[everything.pred_classes]
    assert 0 < kept.sum() < len(everything)
    assert torch.equal(some.scores, everything.scores[kept])
    assert torch.equal(some.pred_masks, everything.pred_masks[kept])


@pytest.mark.parametrize("resized", [False, True])
def test_a_semantic_class_below_its_threshold_gives_way(resized: bool) -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, -9.0], [0.0, 9.0, 2.0, -9.0]])  # classes 0 to 2, and void
    masks = torch.full((2, 16, 24), -20.0)
    masks[0, :, :12] = masks[1, :, 12:] = 20.0

    def labels(thresholds: list[float] | None) -> list[int]:
        upsampler = MaskUpsampler(masks, PADDED, PADDED, PADDED)
        if resized:
            found = resized_semantic_inference(logits, upsampler, PADDED, CHUNK, True, thresholds)
        else:
            inference = SemanticInference(logits, PADDED, CHUNK, True, thresholds)
            feed_bands(upsampler, [inference], CHUNK)
            found = inference.result()
        return [int(found[30, 10]), int(found[30, 85])]

    assert labels(None) == [2, 1]
    assert labels([0.0, 0.0, 0.9]) == [1, 1]
    assert labels([0.9, 0.9, 0.9]) == [2, 1], "where no class reaches its threshold, the best one stays"
