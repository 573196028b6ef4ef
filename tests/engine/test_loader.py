"""The stream of batches: the same whatever the workers, and going on exactly where it was left."""

import random

import numpy as np
import pytest
import torch
from detectron2.data.samplers import RandomSubsetTrainingSampler, RepeatFactorTrainingSampler, TrainingSampler

from fcclip.config import get_cfg
from fcclip.engine import loader as loader_module
from fcclip.engine.loader import TrainLoader, images_per_forward, sampler_maker
from fcclip.engine.rng import capture_rng, preserved_rng, restore_rng, seeded_rng

SIZES = [(10, 20), (20, 10), (10, 10), (30, 50), (50, 30), (8, 9), (9, 8)]


def draw(record):
    """A mapper that draws from all three generators, as augmentations do."""
    numbers = (np.random.uniform(), random.random(), torch.rand(1).item())  # noqa: NPY002
    return {"index": record, "height": SIZES[record][0], "width": SIZES[record][1], "numbers": numbers}


def make_loader(num_workers=0, batch_size=2, by_orientation=True, seed=3):
    def make_sampler(seed):
        return TrainingSampler(len(SIZES), seed=seed)

    return TrainLoader(list(range(len(SIZES))), draw, make_sampler, batch_size, by_orientation, num_workers, seed)


def take(loader, count):
    batches = iter(loader)
    return [[(sample["index"], sample["numbers"]) for sample in next(batches)] for _ in range(count)]


def test_workers_do_not_change_the_samples():
    assert take(make_loader(num_workers=2), 6) == take(make_loader(), 6)


def test_batches_are_of_one_orientation():
    for batch in take(make_loader(batch_size=3), 10):
        assert len({SIZES[index][1] > SIZES[index][0] for index, _ in batch}) == 1
    mixed = take(make_loader(batch_size=3, by_orientation=False), 10)
    assert any(len({SIZES[index][1] > SIZES[index][0] for index, _ in batch}) == 2 for batch in mixed)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_restored_stream_goes_on_as_the_first_would_have(num_workers, after):
    undisturbed = take(make_loader(), 12)
    first = make_loader(num_workers)
    assert take(first, after) == undisturbed[:after]
    second = make_loader(num_workers, seed=99)
    second.load_state_dict(first.state_dict())
    assert take(second, 12 - after) == undisturbed[after:]


def test_seeds_decide_order_and_augmentations():
    assert take(make_loader(seed=3), 8) != take(make_loader(seed=4), 8)
    indices, numbers = zip(*(sample for batch in take(make_loader(batch_size=1), 14) for sample in batch), strict=True)
    assert sorted(indices[:7]) == sorted(indices[7:]) == list(range(7))
    assert len(set(numbers)) == 14


def test_the_stream_neither_uses_nor_changes_the_global_generators():
    before = capture_rng()
    expected = take(make_loader(num_workers=2), 4)
    assert take(make_loader(), 4) == expected
    assert torch.equal(capture_rng()["torch"], before["torch"])
    assert capture_rng()["python"] == before["python"]
    torch.manual_seed(12345)
    assert take(make_loader(), 4) == expected


def test_processes_share_the_stream(monkeypatch):
    """Two processes together see what one sees, each sample augmented the same."""

    def make_share(rank):
        monkeypatch.setattr(loader_module.comm, "get_rank", lambda: rank)
        monkeypatch.setattr(loader_module.comm, "get_world_size", lambda: 2)
        return take(make_loader(batch_size=1, by_orientation=False), 5)

    alone = take(make_loader(batch_size=2, by_orientation=False), 5)
    shares = [make_share(rank) for rank in range(2)]
    assert [[first[0], second[0]] for first, second in zip(*shares, strict=True)] == alone


def test_a_record_that_cannot_be_mapped_names_its_error_through_the_workers():
    loader = TrainLoader([0], missing, lambda seed: TrainingSampler(1, seed=seed), 1, False, 1, 0)
    with pytest.raises(FileNotFoundError, match=r"image gone\.jpg does not exist"):
        next(iter(loader))


def missing(record):
    raise FileNotFoundError("image gone.jpg does not exist")


def test_samplers_by_name():
    cfg = get_cfg()
    records = [{"annotations": [{"category_id": 0}]}, {"annotations": [{"category_id": 1}]}]
    kinds = [TrainingSampler, RepeatFactorTrainingSampler, RandomSubsetTrainingSampler]
    cfg.DATALOADER.RANDOM_SUBSET_RATIO = 0.5
    for kind in kinds:
        cfg.DATALOADER.SAMPLER_TRAIN = kind.__name__
        assert type(sampler_maker(cfg, records)(5)) is kind
    cfg.DATALOADER.SAMPLER_TRAIN = "Ordered"
    with pytest.raises(ValueError, match="not 'Ordered'"):
        sampler_maker(cfg, records)


def test_the_images_of_a_step_are_shared(monkeypatch):
    cfg = get_cfg()
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATION_STEPS = 16, 2
    monkeypatch.setattr(loader_module.comm, "get_world_size", lambda: 4)
    assert images_per_forward(cfg) == 2
    cfg.SOLVER.ACCUMULATION_STEPS = 3
    with pytest.raises(ValueError, match="make it a multiple of 12"):
        images_per_forward(cfg)


def test_generators_are_captured_preserved_and_seeded():
    state = capture_rng()
    first = (random.random(), np.random.uniform(), torch.rand(1).item())  # noqa: NPY002
    restore_rng(state)
    with preserved_rng():
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
    assert (random.random(), np.random.uniform(), torch.rand(1).item()) == first  # noqa: NPY002
    drawn = []
    for _ in range(2):
        torch.rand(3)
        with seeded_rng(4, 5):
            drawn.append((random.random(), np.random.uniform(), torch.rand(1).item()))  # noqa: NPY002
    assert drawn[0] == drawn[1]
