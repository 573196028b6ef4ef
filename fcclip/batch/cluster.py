"""The engine of many processes: Ray Data keeps a pool of actors, starts those again that died, and holds back the rest.

Only numbers of shards and receipts travel through Ray; images and results go between the workers and the stores.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcclip.batch.job import Model
from fcclip.batch.worker import ModelParcel, Receipt, Settings, Worker
from fcclip.files.scratch import make_scratch, remove_abandoned

MOST_BLOCKS = 10_000  # what Ray's driver keeps a note of each
STORE_BYTES = 256 << 20  # of a cluster started here, besides the weights: what travels is small


class Predictor:
    """An actor: it has the model, and is given shards.

    Args:
        settings: what is to be done.
        parcel: reference to the model.
        device: where it computes.
        threads: of PyTorch; 0 for what the machine has.
    """

    def __init__(self, settings: Settings, parcel: Any, device: str, threads: int) -> None:
        import ray
        import torch

        importlib.import_module("fcclip.public")  # registers models; it stands above this room
        if threads:
            torch.set_num_threads(threads)
        content: ModelParcel = ray.get(parcel)
        self._worker = Worker(settings, *content.unpack(device))

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Shards -> receipts."""
        for shard in batch["shard"].tolist():
            for receipt in self._worker.work(shard):
                yield {"receipt": [vars(receipt)]}


@dataclass(frozen=True)
class Cluster:
    """Many processes, on this machine or on those of a Ray cluster.

    Attributes:
        workers: the most of them; fewer will do until more have a place.
        address: of a cluster that is there; None starts one on this machine, and ends it afterwards.
        gpus_per_worker: None for one where the cluster has GPUs, else none.
    """

    workers: int
    address: str | None = None
    gpus_per_worker: float | None = None

    def run(self, settings: Settings, shards: Sequence[int], model: Model) -> Iterator[Receipt]:
        """Do the shards; a receipt for every part, as they are done."""
        with self._connected(model):
            import ray
            import ray.data
            import torch

            _quieten()
            gpus = self.gpus_per_worker
            if gpus is None:
                gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
            # On this machine the workers share its cores; elsewhere Ray's environment says how many there are.
            threads = max(1, torch.get_num_threads() // self.workers) if self.address is None else 0
            blocks = min(len(shards), MOST_BLOCKS)
            tasks = ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=blocks)
            receipts = tasks.map_batches(
                Predictor,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(
                    min_size=1, max_size=self.workers, initial_size=self.workers, max_tasks_in_flight_per_actor=2
                ),
                num_gpus=gpus or None,
                num_cpus=1,
                fn_constructor_kwargs={
                    "settings": settings,
                    "parcel": ray.put(model.pack()),
                    "device": "cuda" if gpus else "cpu",
                    "threads": threads,
                },
            )
            for row in receipts.iter_rows():
                yield Receipt(**row["receipt"])

    @contextmanager
    def _connected(self, model: Model) -> Iterator[None]:
        """Within, Ray runs: without a dashboard, and without telling anyone of it."""
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import ray

        if self.address is not None:
            ray.init(address=self.address, log_to_driver=False, logging_level=logging.WARNING)
            try:
                yield
            finally:
                ray.shutdown()
            return
        remove_abandoned(_short_folder())
        folder = make_scratch("ray", _short_folder())
        weights = Path(model.cfg.MODEL.WEIGHTS).stat().st_size if model.cfg.MODEL.WEIGHTS else 0
        try:
            ray.init(
                num_cpus=self.workers + 1,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                object_store_memory=STORE_BYTES + 2 * weights,
                _temp_dir=str(folder),
            )
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _quieten() -> None:
    """No bars of Ray's own, and no image is blamed for a worker that died: its shard is done again."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)


def _short_folder() -> str | None:
    """Where sockets have a name that is short enough; None for the usual place."""
    short = Path("/tmp")  # noqa: S108 - Ray makes a folder of its own in it
    return str(short) if len(tempfile.gettempdir()) >= 20 and short.is_dir() else None
