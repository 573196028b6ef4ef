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


@pytest.mark.parametrize("thresholds", [None, (0.0, 0.6, 0.0, 0.3, 0.2)])
def test_all_results(masks_and_classes: tuple[np.ndarray, np.ndarray], thresholds: Sequence[float] | None) -> None:
    logits, classes = masks_and_classes
    probabilities = masks.softmax(classes)
    panoptic = results.PanopticResult(probabilities, OUTPUT, THINGS, 0.3, 0.1, thresholds)
    semantic = results.SemanticResult(probabilities, OUTPUT, CHUNK, thresholds, BELOW_THRESHOLD)
    instances = results.InstanceResult(probabilities, OUTPUT, 20, THINGS, thresholds)
    results.feed_bands(masks.MaskUpsampler(logits, *SIZES), [panoptic, semantic, instances], CHUNK)

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


def test_no_query_at_all(masks_and_classes: tuple[np.ndarray, np.ndarray]) -> None:
    logits, classes = masks_and_classes
    panoptic = results.PanopticResult(masks.softmax(classes), OUTPUT, THINGS, 1.0, 0.1, None)
    results.feed_bands(masks.MaskUpsampler(logits, *SIZES), [panoptic], CHUNK)
    empty, segments = panoptic.result()
    assert not empty.any()
    assert not segments
