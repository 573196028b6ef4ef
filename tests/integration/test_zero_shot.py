"""ZegCLIP and Cascade-CLIP through the commands: inductive, resumed and transductive training, evaluation, demo."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from fcclip.data.panoshapes.dataset import SPLITS, WORLD, write_split
from fcclip.files.checkpoints import read_checkpoint
from tests.tiny import REPOSITORY
from tests.zero_shot import CLIP

CONFIGS = REPOSITORY / "configs" / "zero_shot"
FOLDERS = {"training": 4, "training_aug": 2, "validation": 2}
WORLD_SIDE = 64  # pixels of the built-in world's scenes
BUILT_IN = (
    *("DATASETS.TRAIN", "('panoshapes_train_all_panoptic',)", "DATASETS.TEST", "('panoshapes_val_all_panoptic',)"),
)
WITHOUT_TEST = (*BUILT_IN, "DATASETS.TEST", "()")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A few scenes of the built-in world, a few made images laid out as PASCAL VOC, and a tiny CLIP in a file."""
    folder = tmp_path_factory.mktemp("zero_shot")
    rng = np.random.default_rng(0)
    for split, count in FOLDERS.items():
        images = folder / "datasets/pascal_voc_d2/images" / split
        labels = folder / "datasets/pascal_voc_d2/annotations_pascal20" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for index in range(count):
            blocks = rng.choice([0, 3, 14, 15, 17, 255], (5, 7)).astype(np.uint8)
            Image.fromarray(blocks.repeat(12, 0).repeat(12, 1)).save(labels / f"{index}.png")
            pixels = rng.integers(0, 255, (5, 7, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1)
            Image.fromarray(pixels).save(images / f"{index}.jpg")
    for name, scenes in (("train_all", 4), ("val_all", 2)):
        write_split(folder / "cache" / WORLD / name, replace(SPLITS[name], scenes=scenes), WORLD_SIDE)
    torch.manual_seed(0)
    open_clip.add_model_config(CLIP)
    torch.save(open_clip.create_model(CLIP.stem).state_dict(), folder / "clip.pt")
    return folder


def options(workplace: Path, output: str) -> list[str]:
    """What makes a published configuration tiny."""
    return [
        *("MODEL.DEVICE", "cpu", "MODEL.FC_CLIP.CLIP_MODEL_NAME", str(CLIP)),
        *("MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS", str(workplace / "clip.pt")),
        *("MODEL.ZERO_SHOT.NUM_PROMPTS", "2", "MODEL.ZERO_SHOT.DIM_FEEDFORWARD", "64"),
        *("MODEL.ZERO_SHOT.CROP_SIZE", "48", "MODEL.ZERO_SHOT.STRIDE", "32"),
        *("INPUT.MIN_SIZE_TRAIN", "(48,)", "INPUT.MAX_SIZE_TRAIN", "192", "INPUT.MIN_SIZE_TEST", "48"),
        *("SOLVER.IMS_PER_BATCH", "2", "SOLVER.MAX_ITER", "4", "SOLVER.CHECKPOINT_PERIOD", "2"),
        *("SOLVER.WARMUP_ITERS", "2", "SOLVER.LOG_PERIOD", "1", "DATALOADER.NUM_WORKERS", "0", "SEED", "5"),
        *("TEST.PLOTS", "False", "OUTPUT_DIR", str(workplace / output)),
    ]


def run(workplace: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "DETECTRON2_DATASETS": str(workplace / "datasets"),
        "FCCLIP_CACHE": str(workplace / "cache"),
    }
    done = subprocess.run(
        [sys.executable, script, *words], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def train(workplace: Path, config: str, output: str, *words: str, extra: tuple[str, ...] = ()) -> str:
    path = str(CONFIGS / config)
    return run(workplace, "train_net.py", "--config-file", path, *words, *options(workplace, output), *extra).stdout


@pytest.fixture(scope="module")
def inductive(workplace) -> Path:
    """The output of an inductive training on the built-in world, without evaluation."""
    train(workplace, "zegclip/voc12_inductive.yaml", "inductive", extra=WITHOUT_TEST)
    return workplace / "inductive"


def weights(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path)["model"]


def test_resumed_training_ends_the_same(workplace, inductive) -> None:
    interrupted = workplace / "interrupted"
    interrupted.mkdir()
    shutil.copy(inductive / "model_0000001.pth", interrupted)
    (interrupted / "last_checkpoint").write_text("model_0000001.pth")
    train(workplace, "zegclip/voc12_inductive.yaml", "interrupted", "--resume", extra=WITHOUT_TEST)
    expected, found = (weights(folder / "model_final.pth") for folder in (inductive, interrupted))
    assert expected.keys() == found.keys()
    assert all(torch.equal(tensor, found[key]) for key, tensor in expected.items())
    halfway = weights(inductive / "model_0000001.pth")
    assert not torch.equal(halfway["backbone.prompts.first"], expected["backbone.prompts.first"])


def test_transductive_training_starts_half_way_and_is_evaluated(workplace, inductive) -> None:
    start = inductive / "model_0000001.pth"
    log = train(
        workplace, "zegclip/voc12_transductive.yaml", "transductive", extra=(*BUILT_IN, "MODEL.WEIGHTS", str(start))
    )
    for metric in ("pACC", "mIoU_seen", "mIoU_unseen", "hIoU"):
        assert metric in log
    assert "iter: 4/4" in log
    trained = weights(workplace / "transductive/model_final.pth")
    assert trained["criterion.empty_weight"].shape == (107,)
    assert weights(start)["criterion.empty_weight"].shape == (81,)


def test_trained_model_in_the_demo(workplace, inductive) -> None:
    """It answers for names that it was not trained with."""
    image = workplace / "datasets/pascal_voc_d2/images/validation/0.jpg"
    run(
        workplace,
        *("demo/demo.py", "--config-file", str(CONFIGS / "zegclip/voc12_inductive.yaml"), "--input", str(image)),
        *("--output", str(workplace / "picture.png"), "--json", str(workplace / "found.json")),
        *("--vocabulary", "train,locomotive; person; wall=stuff", "--opts", *options(workplace, "unused")),
        *(*BUILT_IN, "MODEL.WEIGHTS", str(inductive / "model_final.pth")),
    )
    with Image.open(workplace / "picture.png") as picture:
        assert picture.height >= 60
    assert json.loads((workplace / "found.json").read_text())


def test_cascade_clip_trains(workplace) -> None:
    """On files laid out as PASCAL VOC with SBD, two datasets at once."""
    log = train(workplace, "cascade_clip/voc12_inductive.yaml", "cascade", extra=("SOLVER.MAX_ITER", "2"))
    assert "loss_mask" in log
    assert "hIoU" in log
