"""Two processes train as one does with the same images."""

from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.utils.env import seed_all_rng

from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.engine.distributed import launch
from fcclip.engine.trainer import Trainer
from fcclip.files.checkpoints import read_checkpoint
from tests.engine.runs import fixed_points
from tests.engine.training import training_cfg
from tests.ports import free_port

# Every image has four segments, so that each process weighs its classes alike; the same points are drawn for every
# mask, for two processes draw other random numbers than one. Plain gradient descent does not magnify rounding errors.
SETTINGS = {
    "INPUT__IMAGE_SIZE": 64,
    "DATALOADER__ASPECT_RATIO_GROUPING": False,
    "SOLVER__OPTIMIZER": "SGD",
    "SOLVER__MAX_ITER": 4,
    "SOLVER__CHECKPOINT_PERIOD": 2,
    "DATASETS__TEST": (),
}


def train(cfg: CfgNode) -> None:
    """Run in each process."""
    register_custom_datasets(cfg)
    seed_all_rng(cfg.SEED)
    torch.rand = fixed_points
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=True)
    trainer.train()


def free_url() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


def weights(cfg: CfgNode, name: str) -> dict[str, torch.Tensor]:
    return read_checkpoint(Path(cfg.OUTPUT_DIR) / f"{name}.pth")["model"]


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Of one process, and of two that have trained."""
    made = [training_cfg(tmp_path_factory.mktemp(name), sizes=[(48, 64)] * 4, **SETTINGS) for name in ("one", "two")]
    launch(train, (made[1],), "cpu", num_gpus=2, dist_url=free_url())
    return made


@pytest.fixture
def restored_rand():
    original = torch.rand
    yield
    torch.rand = original


def test_two_processes_equal_one(configs, restored_rand):
    alone, shared = configs
    (records,) = [DatasetCatalog.get(name) for name in alone.DATASETS.TRAIN]
    assert {len(record["segments_info"]) for record in records} == {4}
    register_custom_datasets(alone)
    train(alone)

    before, expected, found = (
        weights(*of) for of in ((alone, "model_0000001"), (alone, "model_final"), (shared, "model_final"))
    )
    moved = sum((expected[name] - before[name]).abs().sum() for name in expected)
    differs = sum((expected[name] - found[name]).abs().sum() for name in expected)
    assert moved > 0
    assert differs < 1e-3 * moved


def test_two_processes_resume_as_if_they_had_not_stopped(configs):
    """The state of both processes is in the checkpoint: the last two steps are taken again."""
    _, cfg = configs
    output = Path(cfg.OUTPUT_DIR)
    expected = weights(cfg, "model_final")
    (output / "model_final.pth").unlink()
    (output / "last_checkpoint").write_text("model_0000001.pth")
    assert len(read_checkpoint(output / "model_0000001.pth")["trainer"]["processes"]) == 2
    launch(train, (cfg,), "cpu", num_gpus=2, dist_url=free_url())
    assert all(torch.equal(weights(cfg, "model_final")[name], expected[name]) for name in expected)
