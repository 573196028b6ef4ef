"""`Segmenter.track`: results of a stream with tracks, with a tiny model and with the small trained one."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fcclip.data.panoshapes.classes import CLASSES
from fcclip.data.panoshapes.clip import render_clip
from fcclip.inference.tracking.tracks import STUFF_OFFSET
from fcclip.segmenter import Segmenter
from fcclip.vocabulary import Category, Vocabulary
from tests.tiny import tiny_model

NAMES = "cat; dog; sky=stuff; grass=stuff"


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    model = tiny_model(MODEL__MASK_FORMER__TEST__INSTANCE_ON=False)
    segmenter = Segmenter(model, min_size=64, max_size=96)
    segmenter.set_vocabulary(NAMES)
    return segmenter


def pictures(count: int, size: tuple[int, int] = (64, 80)) -> list[np.ndarray]:
    """A picture that slowly becomes another one."""
    rng = np.random.default_rng(0)
    first, last = rng.integers(0, 256, (2, size[0] // 8, size[1] // 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return [((1 - t) * first + t * last).astype(np.uint8) for t in np.linspace(0, 0.2, count)]


def test_one_result_per_frame_in_order(segmenter):
    frames = pictures(7)
    results = list(segmenter.track(frames, look_ahead=3))
    assert len(results) == 7
    for frame, result in zip(frames, results, strict=True):
        assert np.array_equal(result.image, frame)
        tracks = [segment.track for segment in result.segments]
        assert len(set(tracks)) == len(tracks)
        for segment in result.segments:
            if segment.is_thing:
                assert 0 < segment.track < STUFF_OFFSET

            else:
                assert segment.track == STUFF_OFFSET + 1 + segment.category_id


def test_batches_do_not_change_results(segmenter):
    frames = pictures(5)
    alone, together = (list(segmenter.track(frames, batch_size=size)) for size in (1, 3))
    for first, second in zip(alone, together, strict=True):
        assert [(s.track, s.category_id) for s in first.segments] == [(s.track, s.category_id) for s in second.segments]
        assert np.array_equal(first.panoptic, second.panoptic)


def test_results_come_as_late_as_the_look_ahead(segmenter):
    read = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal read
        for frame in pictures(8):
            read += 1
            yield frame

    stream = segmenter.track(frames(), look_ahead=2)
    next(stream)
    assert read == 3
    next(stream)
    assert read == 4


def test_the_scores_of_a_followed_segment_are_those_that_were_voted_for(segmenter):
    for number, result in enumerate(segmenter.track(pictures(4), look_ahead=1)):
        alone = segmenter.predict(pictures(4)[number])
        by_area = {segment.area: segment for segment in alone.segments}
        for segment in result.segments:
            assert segment.scores[0].category_id == segment.category_id
            assert segment.scores[0].score == pytest.approx(segment.score, abs=1e-6)
            assert np.linalg.norm(segment.embedding) == pytest.approx(1, abs=1e-5)
            same = by_area.get(segment.area)
            if same is not None and np.array_equal(segment.mask, same.mask):  # what CLIP sees in it is of the frame
                assert np.allclose(segment.embedding, same.embedding, atol=1e-5)


def test_another_size_and_reset_begin_a_new_shot(segmenter):
    stream = segmenter.track([*pictures(2), *pictures(2, (80, 64)), *pictures(2, (80, 64))], look_ahead=0)
    results = []
    for number in range(6):
        if number == 4:
            stream.reset()
        results.append(next(stream))
    with pytest.raises(StopIteration):
        next(stream)
    assert [result.size for result in results] == [(64, 80)] * 2 + [(80, 64)] * 4


def test_map_of_tracks(segmenter):
    [result] = segmenter.track(pictures(1))
    tracks = result.tracks()
    for segment in result.segments:
        assert set(np.unique(tracks[result.panoptic == segment.id]).tolist()) == {segment.track}
    assert result.to_dict()["segments"][0].keys() >= {"track", "rank"}
    plain = segmenter.predict(pictures(1)[0])
    assert "track" not in plain.to_dict()["segments"][0]
    with pytest.raises(ValueError, match=r"Segmenter\.track"):
        plain.tracks()


def test_what_cannot_be_tracked_is_explained(segmenter):
    other = Segmenter(tiny_model(MODEL__MASK_FORMER__TEST__PANOPTIC_ON=False), min_size=64, max_size=96)
    with pytest.raises(ValueError, match="PANOPTIC_ON True"):
        other.track([], vocabulary=NAMES)
    with pytest.raises(ValueError, match="0 for a camera"):
        segmenter.track([], look_ahead=-1)
    with pytest.raises(ValueError, match="batch_size"):
        segmenter.track([], batch_size=0)
    with pytest.raises(RuntimeError, match="set the classes"):
        Segmenter(tiny_model(), min_size=64, max_size=96).track([])


@pytest.fixture(scope="module")
def trained() -> Segmenter:
    segmenter = Segmenter.from_pretrained("panoshapes", device="cpu")
    segmenter.set_vocabulary(Vocabulary(tuple(Category((entry.name,), entry.is_thing) for entry in CLASSES)))
    return segmenter


def switches(scenes, results) -> tuple[int, int]:
    """How often the best track of a true object is another one than before, and how many chances there were."""
    last: dict[int, int] = {}
    changed = chances = 0
    for scene, result in zip(scenes, results, strict=True):
        tracks = result.tracks()
        for segment in scene.segments:
            mask = scene.ids == segment.id
            values, areas = np.unique(tracks[mask], return_counts=True)
            best = int(values[areas.argmax()])
            if not CLASSES[segment.category].is_thing or areas.max() < 0.5 * mask.sum() or not 0 < best < STUFF_OFFSET:
                continue
            if segment.id in last:
                chances += 1
                changed += last[segment.id] != best
            last[segment.id] = best
    return changed, chances


def test_objects_keep_their_ids_through_a_clip_and_a_cut(trained):
    scenes = list(render_clip(np.random.default_rng([2001, 0]), 128, 128, frames=15, cuts=(5, 10)))
    torch.manual_seed(0)
    results = list(trained.track([scene.image for scene in scenes], look_ahead=2))
    changed, chances = switches(scenes, results)
    assert chances >= 20
    assert changed <= 0.1 * chances
    before, other, after = ({s.track for s in r.segments if s.is_thing} for r in (results[4], results[7], results[10]))
    assert not before & other
    assert before & after
