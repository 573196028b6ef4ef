import numpy as np
import torch

from fcclip.data.panoshapes import CLASSES, Scene, Segment
from fcclip.data.panoshapes.batches import PairBatches, Phase, Plan
from fcclip.data.panoshapes.captions import SIZES, caption_of_stuff, caption_of_thing, size_word
from fcclip.data.panoshapes.classes import STUFF
from fcclip.data.panoshapes.crops import all_pairs, crop_pair
from fcclip.data.panoshapes.scene import DIAMETER

PHASES = (Phase(0.5, ((32, 3, 2), (96, 1, 1))), Phase(0.5, ((64, 1, 4),)))
PLAN = Plan(batches=4, seed=7, phases=PHASES, fresh=1, pool=4)


def test_captions_of_a_thing_are_true():
    rng = np.random.default_rng(0)
    striped, plain = Segment(2, 0, "striped", DIAMETER[0]), Segment(2, 0, "plain", DIAMETER[1])
    told = [caption_of_thing(rng, CLASSES[0], striped, CLASSES[-1]) for _ in range(300)]
    assert all("red circle" in caption for caption in told)
    assert not any("plain" in caption or "medium" in caption or "large" in caption for caption in told)
    for word in ("striped", "small", f" on {CLASSES[-1].name}"):
        assert any(word in caption for caption in told)
    assert not any("striped" in caption_of_thing(rng, CLASSES[0], plain) for _ in range(300))
    assert len({caption.replace("striped ", "").replace("small ", "") for caption in told}) >= 10  # phrasings


def test_captions_of_stuff_name_it_and_no_other():
    rng = np.random.default_rng(0)
    for entry in CLASSES[-len(STUFF) :]:
        for _ in range(30):
            assert [name for name in STUFF if name in caption_of_stuff(rng, entry).split(".")[0].split()] == [
                entry.name
            ]


def test_size_words_divide_the_range():
    sizes = np.linspace(*DIAMETER, 31)
    words = [size_word(size) for size in sizes]
    assert list(dict.fromkeys(words)) == list(SIZES)


def test_a_crop_shows_its_object():
    image, ids = np.full((256, 256, 3), 100, np.uint8), np.ones((256, 256), np.int32)
    ids[150:200, 60:110] = 2
    image[ids == 2] = 200
    scene = Scene(image, ids, (Segment(1, len(CLASSES) - 1), Segment(2, 5, "plain", 0.25)))
    for seed in range(10):
        pair = crop_pair(np.random.default_rng(seed), scene, scene.segments[1], 48, CLASSES)
        assert pair is not None
        assert pair.image.shape == (48, 48, 3)
        assert pair.category == 5
        assert CLASSES[5].name in pair.caption
        assert 0.3 < (pair.image[..., 0] > 150).mean() <= 1
        stuff = crop_pair(np.random.default_rng(seed), scene, scene.segments[0], 48, CLASSES)
        assert stuff is not None
        assert (stuff.image[..., 0] < 150).mean() > 0.75


def test_test_pairs_follow_the_seed():
    first, again = (list(all_pairs(np.random.default_rng(1), 2, 32)) for _ in range(2))
    assert [pair.caption for pair in first] == [pair.caption for pair in again]
    assert len(first) >= 6


def test_a_batch_has_a_caption_a_tile_and_no_class_twice():
    batch = next(iter(PairBatches(PLAN)))
    assert [(mosaics.grid, tuple(mosaics.images.shape)) for mosaics in batch.mosaics] == [
        (3, (2, 3, 96, 96)),
        (1, (1, 3, 96, 96)),
    ]
    assert len(batch.captions) == 2 * 9 + 1


def test_tiles_lie_row_by_row():
    from fcclip.data.panoshapes.batches import _lay_out

    tiles = [np.full((2, 2, 3), value, np.uint8) for value in range(8)]
    mosaics = _lay_out(tiles, grid=2)
    assert mosaics[:, 0].tolist() == [
        [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]],
        [[4, 4, 5, 5], [4, 4, 5, 5], [6, 6, 7, 7], [6, 6, 7, 7]],
    ]


def test_a_stream_that_starts_later_goes_on_as_if_it_had_not_stopped():
    whole = list(PairBatches(PLAN))
    rest = next(iter(PairBatches(PLAN, start=2)))
    assert rest.captions == whole[2].captions
    assert all(torch.equal(a.images, b.images) for a, b in zip(rest.mosaics, whole[2].mosaics, strict=True))
    assert whole[0].captions != whole[1].captions
    assert [len(batch.captions) for batch in whole] == [19, 19, 4, 4]
