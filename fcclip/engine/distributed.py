"""Starting the processes of a training: by torchrun, by SLURM's srun, or by this program itself."""

from __future__ import annotations

import gc
import logging
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
from detectron2.utils import comm
from torch import nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

logger = logging.getLogger(__name__)

TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class ProcessRank:
    """Where one process stands among all.

    Attributes:
        rank, world_size: among all processes.
        local_rank, local_size: among those of its machine.
        url: where the processes meet.
    """

    rank: int
    world_size: int
    local_rank: int
    local_size: int
    url: str


def launch(
    main: Callable[..., Any],
    args: tuple[Any, ...],
    device: str,
    num_gpus: int = 1,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str = "",
) -> Any:
    """Run `main(*args)` in every process of a training.

    Under torchrun, or in one of several tasks of an srun, this process is one of them already and the arguments after
    `device` do not count. Otherwise `num_gpus` processes are started here, if that or `num_machines` is above 1.

    Args:
        main: must be importable, as it is run in fresh processes.
        args: its arguments.
        device: where the model will be, "cuda" or "cpu"; on the CPU, `num_gpus` is simply a number of processes.
        num_gpus: processes of this machine.
        num_machines: machines, each of which starts its processes with its own `machine_rank`.
        machine_rank: from 0.
        dist_url: where the processes meet, such as tcp://HOST:PORT.

    Returns:
        What `main` returns; None where processes were started.

    Raises:
        ValueError: this machine is none of them, there are fewer GPUs than processes, or the port of `dist_url` is in
            use.
    """
    if not 0 <= machine_rank < num_machines:
        raise ValueError(f"--machine-rank is from 0 to {num_machines - 1} with --num-machines {num_machines}")
    on_gpu = torch.device(device).type == "cuda"
    place = rank_from_environment(os.environ)
    if place is not None:
        return _run(place, on_gpu, main, args)
    world_size = num_gpus * num_machines
    if world_size == 1:
        return main(*args)
    first = ProcessRank(machine_rank * num_gpus, world_size, 0, num_gpus, dist_url)
    if machine_rank == 0:
        require_free_port(dist_url)
    processes: Any = spawn(_spawned, (first, on_gpu, main, args), nprocs=num_gpus, join=False)
    try:
        while not processes.join():
            continue
    except KeyboardInterrupt:
        for process in processes.processes:  # each puts away what it is doing
            if process.is_alive():
                process.terminate()
        for process in processes.processes:
            process.join()
        raise
    return None


def require_free_port(url: str) -> None:
    """See that the first process can listen where the others will look for it.

    Raises:
        ValueError: another program listens there, or the address is none.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "tcp" or not parts.hostname or port is None:
        raise ValueError(f"--dist-url {url} is no address; give one like tcp://127.0.0.1:29500")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
            listener.listen()
        except OSError as error:
            raise ValueError(
                f"port {port} of --dist-url is in use ({error.strerror}), perhaps by another training of yours; choose "
                f"another one, such as --dist-url tcp://{parts.hostname}:{port % 60000 + 1025}"
            ) from error


def rank_from_environment(environment: Mapping[str, str]) -> ProcessRank | None:
    """This process's place as torchrun or srun tells it; None without either."""
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"} <= environment.keys():
        return ProcessRank(
            rank=int(environment["RANK"]),
            world_size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            local_size=int(environment.get("LOCAL_WORLD_SIZE", environment["WORLD_SIZE"])),
            url="env://",
        )
    # Of all SLURM variables only this one tells a step of several tasks from the batch script around it.
    if int(environment.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        tasks_of_nodes = _expand_tasks(environment["SLURM_STEP_TASKS_PER_NODE"])
        if len(set(tasks_of_nodes)) > 1:
            raise ValueError(f"srun starts {tasks_of_nodes} tasks on its machines; start equally many on each")
        host = environment.get("MASTER_ADDR") or first_host(environment["SLURM_STEP_NODELIST"])
        port = environment.get("MASTER_PORT") or str(20000 + int(environment["SLURM_JOB_ID"]) % 20000)
        return ProcessRank(
            rank=int(environment["SLURM_PROCID"]),
            world_size=int(environment["SLURM_STEP_NUM_TASKS"]),
            local_rank=int(environment["SLURM_LOCALID"]),
            local_size=tasks_of_nodes[0],
            url=f"tcp://{host}:{port}",
        )
    return None


def first_host(nodes: str) -> str:
    """The first of SLURM's compressed list of hosts: `gpu[03-07,9],login` -> `gpu03`."""
    prefix, bracket, rest = re.match(r"([^,\[]*)(\[?)(.*)", nodes).groups()  # type: ignore[union-attr]
    return prefix + (re.split(r"[-,\]]", rest)[0] if bracket else "")


def distribute(model: nn.Module) -> nn.Module:
    """Wrap a model so that the gradients of all processes are averaged; alone it stays as it is.

    A model says with a true attribute `has_unused_parameters` that some of its parameters never get a gradient.
    """
    if comm.get_world_size() == 1:
        return model
    on_gpu = next(model.parameters()).is_cuda
    devices = [torch.cuda.current_device()] if on_gpu else None
    unused = bool(getattr(model, "has_unused_parameters", False))
    return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False, find_unused_parameters=unused)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model that `distribute` was given."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def _spawned(
    local_rank: int, first: ProcessRank, on_gpu: bool, main: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    _run(replace(first, rank=first.rank + local_rank, local_rank=local_rank), on_gpu, main, args)


def _run(place: ProcessRank, on_gpu: bool, main: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Join the others, run, and leave."""
    if on_gpu:
        available = torch.cuda.device_count()
        if place.local_size > available:
            raise ValueError(f"{place.local_size} processes on this machine need a GPU each, but it has {available}")
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=place.url,
        rank=place.rank,
        world_size=place.world_size,
        timeout=TIMEOUT,
    )
    _create_local_group(place)
    comm.synchronize()
    result = main(*args)
    # Not after an error: the others may be waiting for this process, and leaving would wait for them.
    _leave()
    return result


def _leave() -> None:
    """Leave the others, with nothing kept of the groups.

    A group lives until nobody holds it. If that were the end of the interpreter, its threads, which may still have to
    let go of a tensor, would find Python gone, and abort the process.
    """
    comm._LOCAL_PROCESS_GROUP = None  # noqa: SLF001 - Detectron2 has no other way to give it back
    forget = getattr(getattr(comm, "_get_global_gloo_group", None), "cache_clear", None)
    if forget is not None:
        forget()
    dist.destroy_process_group()
    gc.collect()


def _create_local_group(place: ProcessRank) -> None:
    """Tell Detectron2 which processes share a machine; its releases up to 0.6 have no function for that."""
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(place.local_size)
        return
    for first in range(0, place.world_size, place.local_size):
        group = dist.new_group(list(range(first, first + place.local_size)))
        if first <= place.rank < first + place.local_size:
            comm._LOCAL_PROCESS_GROUP = group  # noqa: SLF001 - Detectron2 has no other way to set it


def _expand_tasks(compressed: str) -> list[int]:
    """SLURM's tasks of each node: `4(x2),3` -> [4, 4, 3]."""
    counts: list[int] = []
    for part in compressed.split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * int(times.rstrip(")") or 1)
    return counts
