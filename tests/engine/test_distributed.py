"""Where a process stands, as torchrun and srun tell it."""

import socket

import pytest
import torch
from detectron2.utils import comm
from torch import nn

from fcclip.engine import distributed
from fcclip.engine.distributed import (
    ProcessRank,
    distribute,
    first_host,
    launch,
    rank_from_environment,
    require_free_port,
    unwrapped,
)
from tests.ports import free_port

SLURM = {
    "SLURM_JOB_ID": "41234",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_PROCID": "6",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "1",
}


def test_torchrun():
    environment = {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "gpu01",
        "MASTER_PORT": "29500",
    }
    assert rank_from_environment(environment) == ProcessRank(5, 8, 1, 4, "env://")
    assert rank_from_environment({**SLURM, **environment}).url == "env://", "torchrun started by srun"


def test_srun():
    assert rank_from_environment(SLURM) == ProcessRank(6, 8, 2, 4, "tcp://gpu07:21234")
    elsewhere = {**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1234"}
    assert rank_from_environment(elsewhere).url == "tcp://10.0.0.1:1234"
    with pytest.raises(ValueError, match="equally many"):
        rank_from_environment({**SLURM, "SLURM_STEP_TASKS_PER_NODE": "4,3,1"})


def test_a_batch_script_and_a_single_task_are_ordinary_programs():
    batch_script = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    assert rank_from_environment(batch_script) is None
    assert rank_from_environment({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    assert rank_from_environment({}) is None


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu03", "gpu03"),
        ("gpu[03-07,9],login", "gpu03"),
        ("a1,a2", "a1"),
        ("rack2-n[5]", "rack2-n5"),
        ("n[8,9]", "n8"),
    ],
)
def test_first_of_slurms_hosts(nodes, host):
    assert first_host(nodes) == host


def test_alone_nothing_is_started_or_wrapped():
    assert launch(lambda value: value + 1, (41,), "cpu") == 42
    model = nn.Linear(1, 1)
    assert distribute(model) is model
    assert unwrapped(model) is model


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_machine_that_is_none_of_them_names_the_flag(rank):
    with pytest.raises(ValueError, match="--machine-rank is from 0 to 1 with --num-machines 2"):
        launch(print, (), "cpu", num_machines=2, machine_rank=rank)


def test_a_port_in_use_names_the_flag():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=rf"port {port} of --dist-url is in use .*; choose another one, such as"):
            launch(print, (), "cpu", num_gpus=2, dist_url=f"tcp://127.0.0.1:{port}")
    require_free_port(f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("url", ["127.0.0.1:29500", "tcp://127.0.0.1", "tcp://127.0.0.1:many"])
def test_an_address_that_is_none_names_the_flag(url):
    with pytest.raises(ValueError, match="--dist-url .* is no address"):
        require_free_port(url)


def test_nothing_is_kept_of_the_groups_after_the_work() -> None:
    kept = comm._get_global_gloo_group

    def main() -> bool:
        kept()
        return comm._LOCAL_PROCESS_GROUP is not None and kept.cache_info().currsize == 1

    url = f"tcp://127.0.0.1:{free_port()}"
    assert distributed._run(ProcessRank(0, 1, 0, 1, url), False, main, ())
    assert kept.cache_info().currsize == 0
    assert comm._LOCAL_PROCESS_GROUP is None
    assert not torch.distributed.is_initialized()
