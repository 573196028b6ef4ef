import numpy as np
import torch

from fcclip.data.panoshapes.classes import FEW_CLASSES
from fcclip.data.panoshapes.scene import Scene, Segment
from fcclip.data.panoshapes.traces import TracePhase, TracePlan, cut_window, segment_patches

PHASES = (TracePhase(0.5, 48, 5, centred=True), TracePhase(0.5, 64, 3))
PLAN = TracePlan(4, PHASES, seed=7, side=64, fresh=1, pool=8)


def scene_of_squares() -> Scene:
    """Grass (a kind of stuff) with a thing of 16 pixels at (32, 8)."""
    stuff = next(index for index, entry in enumerate(FEW_CLASSES) if not entry.is_thing)
    ids = np.ones((64, 64), np.int32)
    ids[32:48, 8:24] = 2
    image = np.repeat(ids[..., None] * 100, 3, axis=2).astype(np.uint8)
    return Scene(image, ids, (Segment(1, stuff), Segment(2, 0, "plain", 0.25)))


def test_patches_of_a_segment_are_counted_row_by_row():
    found = {segment.id: places.tolist() for segment, places in segment_patches(scene_of_squares(), 8)}
    assert found[2] == [33, 34, 41, 42]
    assert len(found[1]) == 60
    assert not set(found[1]) & set(found[2])


def test_a_segment_of_hardly_any_patches_is_left_out():
    scene = scene_of_squares()
    scene.ids[scene.ids == 2] = 1
    scene.ids[33:47, 9:23] = 2  # of four patches, each has 49 of 64 pixels
    assert [segment.id for segment, _ in segment_patches(scene, 8)] == [1, 2]
    scene.ids[scene.ids == 2] = 1
    scene.ids[35:45, 11:21] = 2  # 25 of 64
    assert [segment.id for segment, _ in segment_patches(scene, 8)] == [1]


def test_a_centred_window_shows_the_object_whole():
    for seed in range(20):
        window = cut_window(np.random.default_rng(seed), scene_of_squares(), PHASES[0], FEW_CLASSES)
        assert window.image.shape == (48, 48, 3)
        assert (window.ids == 2).sum() == 256
        assert np.array_equal(window.image[..., 0], window.ids * 100)


def test_a_batch_tells_of_what_is_at_its_patches():
    batches = list(PLAN.stream())
    assert [tuple(batch.images.shape) for batch in batches] == [(5, 3, 48, 48)] * 2 + [(3, 3, 64, 64)] * 2
    for batch in batches:
        traces, captions = len(batch.pictures), batch.class_captions
        assert len(batch.captions) == len(batch.images)
        assert batch.patches.shape == (traces, 8)
        assert set(batch.classes.tolist()) == set(range(len(captions)))
        for picture, which in zip(batch.pictures.tolist(), batch.classes.tolist(), strict=True):
            (name,) = [entry.name for entry in FEW_CLASSES if entry.name in captions[which]]
            assert name in batch.captions[picture]


def test_batches_go_on_in_the_middle():
    whole = list(PLAN.stream())
    (last,) = list(PLAN.stream(3))
    assert last.captions == whole[3].captions
    assert torch.equal(last.images, whole[3].images)
    assert torch.equal(last.patches, whole[3].patches)
