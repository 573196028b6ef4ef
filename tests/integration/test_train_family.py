"""Training of a mask adapter, in both phases, of MAFT+ and of OVRCOAT through train_net.py."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor

from fcclip.files.checkpoints import CLIP_PREFIX, read_checkpoint
from fcclip.weights import load_weights
from tests.engine.training import training_cfg
from tests.tiny import REPOSITORY

SETTINGS = {"DATASETS__TEST": (), "SOLVER__MAX_ITER": 2, "SOLVER__LOG_PERIOD": 1, "SOLVER__CHECKPOINT_PERIOD": 100}
ADAPTER = {
    "MODEL__MASK_ADAPTER__NAME": "MASKAdapterHead",
    "MODEL__MASK_ADAPTER__NUM_CHANNELS": 16,
    "MODEL__MASK_ADAPTER__IOU_THRESHOLD": 0.01,  # random masks hit little
}


MAFT = {"MODEL__META_ARCHITECTURE": "MAFT_Plus", "MODEL__cdt_params": [32, 4], "MODEL__rc_weights": 0.1}


OVRCOAT = {
    "MODEL__META_ARCHITECTURE": "OVRCOAT",
    "MODEL__BACKBONE__FREEZE": False,
    "MODEL__OVRCOAT__RC_WEIGHTS": 0.1,
    "TRAIN__LOSSES": ["oov_ce", "masks", "labels"],
}


def run(folder: Path, weights: Path | str, flags: Sequence[str] = (), **options: Any) -> dict[str, Tensor]:
    """Train for two steps; what the checkpoint holds."""
    cfg = training_cfg(folder, **{**SETTINGS, **options})
    path = folder / "config.yaml"
    path.write_text(cfg.dump())
    command = [sys.executable, "train_net.py", "--config-file", str(path), *flags, "MODEL.WEIGHTS", str(weights)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return read_checkpoint(folder / "output" / "model_final.pth")["model"]


def losses(folder: Path) -> set[str]:
    lines = (folder / "output" / "metrics.json").read_text().splitlines()
    return {name for line in lines for name in json.loads(line) if name.startswith("loss_") or name.endswith("_loss")}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Beginnings of the names of tensors that are not the same."""
    return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture(scope="module")
def mask_generator(tmp_path_factory) -> Path:
    """A checkpoint of FC-CLIP, without CLIP as the published one."""
    folder = tmp_path_factory.mktemp("fcclip")
    state = build_model(training_cfg(folder, **SETTINGS)).state_dict()
    path = folder / "fcclip.pth"
    torch.save({"model": {key: tensor for key, tensor in state.items() if not key.startswith(CLIP_PREFIX)}}, path)
    return path


def test_warm_up_begins_with_fcclip_and_mixed_masks_with_the_warm_up(mask_generator, tmp_path):
    start = read_checkpoint(mask_generator)["model"]
    warm = run(tmp_path / "warm", mask_generator, **ADAPTER, MODEL__MASK_ADAPTER__WARM_UP=True)
    assert losses(tmp_path / "warm") == {"loss_ce", "total_loss"}
    assert {name.partition(".")[0] for name in warm.keys() - start.keys()} == {"mask_adapter"}
    assert changed(start, warm) == set()

    mixed = run(tmp_path / "mixed", tmp_path / "warm" / "output" / "model_final.pth", **ADAPTER)
    assert losses(tmp_path / "mixed") == {"loss_ce", "loss_cosine", "total_loss"}
    assert changed(warm, mixed) == {"mask_adapter", "void_embedding"}


def test_mixed_masks_cannot_begin_without_an_adapter(mask_generator, tmp_path):
    model = build_model(training_cfg(tmp_path, **SETTINGS, **ADAPTER))
    with pytest.raises(ValueError, match="it is a checkpoint of FC-CLIP, and the configuration is of Mask-Adapter"):
        load_weights(model, mask_generator)


def test_maft_plus_begins_with_clip_and_its_checkpoint_holds_what_it_tuned(tmp_path):
    stored = run(tmp_path, "", **MAFT, INPUT__IMAGE_SIZE=64)
    assert {"ranking_loss", "rc_loss", "loss_ce", "loss_mask", "loss_dice"} <= losses(tmp_path)
    model = build_model(training_cfg(tmp_path / "again", **SETTINGS, **MAFT))
    assert load_weights(model, tmp_path / "output" / "model_final.pth").missing == ()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if name.startswith(CLIP_PREFIX)} <= stored.keys()


def test_ovrcoat_begins_with_the_mask_generator_of_fcclip_and_goes_on_where_it_was(mask_generator, tmp_path):
    options = {**OVRCOAT, "MODEL__OVRCOAT__SEM_SEG_WEIGHTS": str(mask_generator), "SOLVER__CHECKPOINT_PERIOD": 1}
    stored = run(tmp_path, "", **options)
    assert {"loss_oov_ce", "rc_loss", "dist_loss", "loss_ce", "loss_mask", "loss_dice"} <= losses(tmp_path)
    start = read_checkpoint(mask_generator)["model"]
    moved = max(
        (stored[name] - tensor).abs().max() for name, tensor in start.items() if name.startswith("sem_seg_head")
    )
    assert 0 < moved < 0.01

    model = build_model(training_cfg(tmp_path / "again", **SETTINGS, **OVRCOAT))
    assert load_weights(model, tmp_path / "output" / "model_final.pth").missing == ()
    assert stored.keys() == model.state_dict().keys(), "the teacher is not stored"

    (tmp_path / "output" / "last_checkpoint").write_text("model_0000000.pth")
    again = run(tmp_path, "", ["--resume"], **options)
    assert all(torch.equal(stored[name], tensor) for name, tensor in again.items())
