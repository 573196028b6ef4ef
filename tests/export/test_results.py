"""The results in NumPy are those of `fcclip.inference`."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from fcclip.export import masks, results
from fcclip.inference.instance import InstanceInference
from fcclip.inference.masks import MaskUpsampler, feed_bands
from fcclip.inference.panoptic import PanopticInference
from fcclip.inference.semantic import BELOW_THRESHOLD, SemanticInference

QUERIES, CLASSES, OUTPUT, CHUNK = 12, 5, (57, 90), 1 << 13
SIZES = ((64, 96), (57, 90), OUTPUT)
THINGS = {0, 2}


@pytest.fixture(scope="module")
def masks_and_classes() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    logits = generator.normal(scale=3, size=(QUERIES, 16, 24)).astype(np.float32)
    return logits, generator.normal(scale=2, size=(QUERIES, CLASSES + 1)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("thresholds", [None, (0.0, 0.6, 0.0, 0.3, 0.2)])
def test_all_results(
    masks_and_classes: tuple[np.ndarray, np.ndarray], thresholds: Sequence[float] | None, threads: int
) -> None:
    logits, classes = masks_and_classes
    probabilities = masks.softmax(classes)
    panoptic = results.PanopticResult(probabilities, OUTPUT, THINGS, 0.3, 0.1, thresholds)
    semantic = results.SemanticResult(probabilities, OUTPUT, CHUNK, thresholds, BELOW_THRESHOLD)
    instances = results.InstanceResult(probabilities, OUTPUT, 20, THINGS, thresholds)
    results.feed_bands(masks.MaskUpsampler(logits, *SIZES), [panoptic, semantic, instances], CHUNK, threads)

    scores = torch.from_numpy(classes)
    reference = (
        PanopticInference(scores, OUTPUT, THINGS, 0.3, 0.1, thresholds),
        SemanticInference(scores, OUTPUT, CHUNK, True, thresholds),
        InstanceInference(scores, OUTPUT, 20, THINGS, thresholds),
    )
    feed_bands(MaskUpsampler(torch.from_numpy(logits), *SIZES), reference, CHUNK)
    their_map, their_segments = reference[0].result()
    our_map, our_segments = panoptic.result()
    assert len(our_segments) > 1
    assert [(one.category_id, one.query) for one in our_segments] == [
        (one.category_id, one.query) for one in their_segments
    ]
    assert np.mean(our_map != their_map.numpy()) < 1e-3
    assert np.mean(semantic.result() != reference[1].result().numpy()) < 1e-3
    ours, theirs = instances.result(0.0), reference[2].result()
    order = theirs.scores.argsort(descending=True)
    np.testing.assert_allclose(ours.scores, theirs.scores[order].numpy(), atol=1e-5)
    np.testing.assert_array_equal(ours.boxes, theirs.pred_boxes.tensor[order].numpy())
    assert len(instances.result(0.4)) < len(ours)


def test_threads_change_no_bit(masks_and_classes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, classes = masks_and_classes
    found = []
    for threads in (1, 4):
        instances = results.InstanceResult(masks.softmax(classes), OUTPUT, 20, THINGS, None)
        results.feed_bands(masks.MaskUpsampler(logits, *SIZES), [instances], CHUNK, threads)
        found.append(instances.result(0.0).scores)
    np.testing.assert_array_equal(*found)


def test_an_error_in_a_band_is_raised(masks_and_classes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, classes = masks_and_classes
    instances = results.InstanceResult(masks.softmax(classes), OUTPUT, 20, THINGS, None)
    instances.update = lambda *band: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(ZeroDivisionError):
        results.feed_bands(masks.MaskUpsampler(logits, *SIZES), [instances], CHUNK, 2)


def test_no_query_at_all(masks_and_classes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, classes = masks_and_classes
    panoptic = results.PanopticResult(masks.softmax(classes), OUTPUT, THINGS, 1.0, 0.1, None)
    results.feed_bands(masks.MaskUpsampler(logits, *SIZES), [panoptic], CHUNK)
    empty, segments = panoptic.result()
    assert not empty.any()
    assert not segments


def steep_masks() -> np.ndarray:
    """One mask is sure of each place, and the others are as sure that they are not there."""
    generator = np.random.default_rng(0)
    logits = generator.uniform(-150, -40, size=(QUERIES, 16, 24)).astype(np.float32)
    owner = generator.integers(0, QUERIES, (4, 6)).repeat(4, axis=0).repeat(4, axis=1)
    np.put_along_axis(logits, owner[None], 8, axis=0)
    return logits


def test_numbers_that_are_too_small_to_matter_are_not_computed() -> None:
    logits = steep_masks()
    floored = masks.floored_sigmoid(logits)
    assert masks.sigmoid(logits).min() < np.finfo(np.float32).tiny
    assert floored.min() * 1e-8 > np.finfo(np.float32).tiny
    np.testing.assert_allclose(floored, masks.sigmoid(logits), atol=1e-20)
    deep = np.full((2, 3, 4), -80, np.float32)
    np.testing.assert_array_equal(masks.floored_sigmoid(deep), masks.sigmoid(deep))


def test_steep_masks_have_the_results_of_exact_sigmoids(
    masks_and_classes: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    probabilities = masks.softmax(masks_and_classes[1])

    def found() -> tuple[np.ndarray, np.ndarray]:
        panoptic = results.PanopticResult(probabilities, OUTPUT, THINGS, 0.0, 0.1, None)
        semantic = results.SemanticResult(probabilities, OUTPUT, CHUNK, None, BELOW_THRESHOLD)
        results.feed_bands(masks.MaskUpsampler(steep_masks(), *SIZES), [panoptic, semantic], CHUNK)
        return panoptic.result()[0], semantic.result()

    ours = found()
    monkeypatch.setattr(results, "floored_sigmoid", masks.sigmoid)
    for one, exact in zip(ours, found(), strict=True):
        assert len(np.unique(exact)) > 2
        np.testing.assert_array_equal(one, exact)


def test_where_all_masks_are_tiny_the_best_of_them_wins() -> None:
    logits = np.full((2, 3, 4), -80, np.float32)
    logits[1] = -70
    probabilities = masks.softmax(np.array([[9, 0], [8, 0]], np.float32))
    panoptic = results.PanopticResult(probabilities, (3, 4), {0}, 0.0, 0.1, None)
    panoptic.update(0, 3, logits, masks.sigmoid(np.maximum(logits, np.float32(-60))))
    assert (panoptic._winner == 1).all()
