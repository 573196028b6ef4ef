"""The commands on a machine with a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcclip.data.panoshapes.dataset import SPLITS
from tests.tiny import REPOSITORY

WORDS = "grass=stuff; brick=stuff; water=stuff; sand=stuff; red circle; blue square; green star; white ring"
SMALL = "configs/panoshapes/fcclip_small.yaml"
CLIP = "fcclip/assets/panoshapes/fcclip_small.safetensors"


def run(*words: str | Path) -> str:
    """What the command printed."""
    done = subprocess.run([sys.executable, *map(str, words)], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for index in range(6):
        Image.fromarray(SPLITS["val_all"].scene(index).image).save(folder / f"{index}.png")
    return folder


@pytest.mark.parametrize("flags", [(), ("--fast",), ("--batch-size", "4")])
def test_segment(flags: tuple[str, ...], photos: Path, tmp_path: Path) -> None:
    ids = {}
    for device in ("cuda", "cpu"):
        words = ("--model", "panoshapes", "--vocabulary", WORDS, "--format", "class-ids", "--device", device)
        run(
            "-m",
            "fcclip",
            "segment",
            photos,
            *words,
            "--output",
            tmp_path / device,
            *(flags if device == "cuda" else ()),
        )
        found = sorted((tmp_path / device / "class-ids").rglob("*.png"))
        ids[device] = np.stack([np.asarray(Image.open(path)) for path in found])
    assert len(ids["cpu"]) == 6
    assert np.mean(ids["cuda"] == ids["cpu"]) > (0.97 if "--fast" in flags else 0.999)


def test_predict_many(photos: Path, tmp_path: Path) -> None:
    words = ("--model", "panoshapes", "--vocabulary", WORDS)
    run("-m", "fcclip", "predict", photos, *words, "--output", tmp_path / "results")
    assert any((tmp_path / "results").iterdir())


def test_doctor_names_the_gpu() -> None:
    assert "NVIDIA" in run("-m", "fcclip", "doctor")


def metrics(output: Path) -> dict[str, float]:
    """PQ, mIoU and both APs of an evaluation."""
    (found,) = (output / "inference").rglob("results.json")
    results = json.loads(found.read_text())["results"]
    return {
        "PQ": results["panoptic_seg"]["PQ"],
        "mIoU": results["sem_seg"]["mIoU"],
        **{task: results[task]["AP"] for task in ("bbox", "segm")},
    }


def test_evaluation_and_training(tmp_path: Path) -> None:
    common = ("--config-file", SMALL, "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS", CLIP, "DATALOADER.NUM_WORKERS", "2")
    test = ("DATASETS.TEST", "('panoshapes_mini_all_panoptic',)")
    found = []
    for device in ("cuda", "cpu"):
        last = (*test, "MODEL.WEIGHTS", CLIP, "MODEL.DEVICE", device, "OUTPUT_DIR", str(tmp_path / device))
        run("train_net.py", "--eval-only", *common, *last)
        found.append(metrics(tmp_path / device))
    assert found[0] == pytest.approx(found[1], abs=0.2)
    schedule = ("SOLVER.MAX_ITER", "20", "SOLVER.STEPS", "(15,)", "DATASETS.TRAIN", "('panoshapes_val_seen_panoptic',)")
    run(
        "train_net.py",
        "--num-gpus",
        "1",
        *common,
        *schedule,
        "DATASETS.TEST",
        "()",
        "OUTPUT_DIR",
        str(tmp_path / "out"),
    )
    assert (tmp_path / "out" / "model_final.pth").is_file()
