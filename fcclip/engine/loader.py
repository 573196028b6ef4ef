"""The stream of training batches: endless, shuffled, and able to go on where a checkpoint left it.

What a sample looks like depends only on the seed and on its place in the stream, not on the number of workers or on
what else has drawn random numbers. So the state of the stream is two things: how far it was read, and which samples
wait for a partner of the same orientation.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, get_detection_dataset_dicts
from detectron2.data.samplers import (
    RandomSubsetTrainingSampler,
    RepeatFactorTrainingSampler,
    TrainingSampler,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from fcclip.data.mappers import build_train_mapper
from fcclip.engine.rng import seeded_rng

Sample = dict[str, Any]
Draw = tuple[int, int]  # position in the stream of all processes, index in the dataset


class TrainLoader:
    """Batches of samples, without end.

    Args:
        records: the dataset.
        mapper: makes a sample of a record.
        make_sampler: gives Detectron2's sampler of dataset indices for a seed.
        batch_size: samples of a batch of this process.
        by_orientation: put only landscapes, or only portraits and squares, in a batch.
        num_workers: processes that make samples; 0: the caller's.
        seed: of the order and of the augmentations; the same in all processes.
    """

    def __init__(
        self,
        records: Sequence[Any],
        mapper: Callable[[Any], Sample],
        make_sampler: Callable[[int], Sampler[int]],
        batch_size: int,
        by_orientation: bool,
        num_workers: int,
        seed: int,
    ) -> None:
        self._records = records
        self._mapper = mapper
        self._make_sampler = make_sampler
        self.batch_size = batch_size
        self._by_orientation = by_orientation
        self._num_workers = num_workers
        self._seed = seed
        self._taken = 0  # samples of this process's stream that were taken
        self._waiting: list[list[Draw]] = [[], []]

    def __iter__(self) -> Iterator[list[Sample]]:
        """Go on from the present state, which moves with every batch."""
        dataset = _SeededDataset(self._records, self._mapper, self._seed)
        buckets = [[dataset[place][1] for place in places] for places in self._waiting]
        samples = self._samples(dataset)
        while True:
            try:
                place, sample = next(samples)
            except Exception as error:
                if self._num_workers == 0:
                    raise
                # The worker's traceback is in the message. Ours would keep the loader alive until the garbage
                # collector finds it, which then waits for workers that are no longer told to stop.
                del samples
                raise error.with_traceback(None)  # noqa: B904, it is the same error
            self._taken += 1
            bucket = int(self._by_orientation and sample["width"] <= sample["height"])
            buckets[bucket].append(sample)
            self._waiting[bucket].append(place)
            if len(buckets[bucket]) == self.batch_size:
                batch, buckets[bucket], self._waiting[bucket] = buckets[bucket], [], []
                yield batch

    def state_dict(self) -> dict[str, Any]:
        """Where the stream of this process stands."""
        return {"seed": self._seed, "taken": self._taken, "waiting": [list(places) for places in self._waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where another loader of the same data stood; iterators made before are not moved."""
        self._seed, self._taken = state["seed"], state["taken"]
        self._waiting = [[(place[0], place[1]) for place in places] for places in state["waiting"]]

    def skip_to(self, seed: int, taken: int) -> None:
        """Stand approximately where processes of another number stood together."""
        self.load_state_dict({"seed": seed, "taken": taken, "waiting": [[], []]})

    def _samples(self, dataset: _SeededDataset) -> Iterator[tuple[Draw, Sample]]:
        """The stream from where it stands, made by the workers ahead of need."""
        workers: dict[str, Any] = {}
        if self._num_workers > 0:
            # About two batches ahead.
            workers["prefetch_factor"] = max(2, -(-2 * self.batch_size // self._num_workers))
        loader: DataLoader[tuple[Draw, Sample]] = DataLoader(
            dataset,
            sampler=_Stream(self._places),
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self._num_workers,
            # Else the loader would draw its seed from the global generator, which the losses draw from.
            generator=torch.Generator(),
            worker_init_fn=_leave_interrupts_to_the_parent,
            **workers,
        )
        return iter(loader)

    def _places(self) -> Iterator[Draw]:
        positions = itertools.count(comm.get_rank(), comm.get_world_size())
        return itertools.islice(zip(positions, self._make_sampler(self._seed)), self._taken, None)  # noqa: B905


def build_train_loader(cfg: CfgNode) -> TrainLoader:
    """The loader of DATASETS.TRAIN.

    Raises:
        ValueError: the sampler is unknown, or a step's images cannot be divided.
        FileNotFoundError: a dataset is not there.
    """
    records = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS, proposal_files=None
    )
    return TrainLoader(
        # Held as bytes: as Python objects, every worker would soon have its own copy of them.
        DatasetFromList(records, copy=False),
        build_train_mapper(cfg),
        sampler_maker(cfg, records),
        images_per_forward(cfg),
        cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        cfg.DATALOADER.NUM_WORKERS,
        cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed(),
    )


def images_per_forward(cfg: CfgNode) -> int:
    """Images of one process's forward pass: IMS_PER_BATCH is shared by processes and accumulation steps."""
    processes: int = comm.get_world_size()
    steps: int = cfg.SOLVER.ACCUMULATION_STEPS
    images, rest = divmod(int(cfg.SOLVER.IMS_PER_BATCH), processes * steps)
    if rest or images < 1:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH {cfg.SOLVER.IMS_PER_BATCH} cannot be divided among {processes} processes x "
            f"SOLVER.ACCUMULATION_STEPS {steps}; make it a multiple of {processes * steps}"
        )
    return images


def sampler_maker(cfg: CfgNode, records: Sequence[Any]) -> Callable[[int], Sampler[int]]:
    """A function from a seed to Detectron2's sampler of DATALOADER.SAMPLER_TRAIN; it does not hold the records.

    Raises:
        ValueError: the sampler is unknown.
    """
    name, node, size = cfg.DATALOADER.SAMPLER_TRAIN, cfg.DATALOADER, len(records)
    if name == "TrainingSampler":
        return lambda seed: TrainingSampler(size, seed=seed)
    if name == "RepeatFactorTrainingSampler":
        factors = RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(records, node.REPEAT_THRESHOLD)
        return lambda seed: RepeatFactorTrainingSampler(factors, seed=seed)
    if name == "RandomSubsetTrainingSampler":
        ratio = node.RANDOM_SUBSET_RATIO
        return lambda seed: RandomSubsetTrainingSampler(size, ratio, seed_shuffle=seed, seed_subset=seed)
    raise ValueError(
        "DATALOADER.SAMPLER_TRAIN must be TrainingSampler, RepeatFactorTrainingSampler or RandomSubsetTrainingSampler, "
        f"not {name!r}"
    )


class _SeededDataset(Dataset[tuple[Draw, Sample]]):
    """Makes the sample of a place, its random numbers decided by the seed and the position alone."""

    def __init__(self, records: Sequence[Any], mapper: Callable[[Any], Sample], seed: int) -> None:
        self._records = records
        self._mapper = mapper
        self._seed = seed

    def __getitem__(self, place: Draw) -> tuple[Draw, Sample]:
        position, index = place
        with seeded_rng(self._seed, position):
            return place, self._mapper(self._records[index])


class _Stream(Sampler[Draw]):
    """Places for a DataLoader; each iteration begins where `make` begins."""

    def __init__(self, make: Callable[[], Iterator[Draw]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Draw]:
        return self._make()


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches all processes of a terminal; the training ends its workers itself, when an iteration is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(sample: Any) -> Any:
    return sample
