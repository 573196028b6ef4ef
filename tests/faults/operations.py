"""The commands that are killed: what they are given, how they go on, and what is compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from fcclip.data.panoshapes.clip import render_clip
from fcclip.data.panoshapes.scene import render_scene
from fcclip.files.video_writer import open_video_writer
from tests.batch.sources import panoptic_pngs, write_images
from tests.data.trees import write_image, write_labels
from tests.engine.training import training_cfg
from tests.faults.trees import Reader, digest, iterations, journal, pixels, tensors, without_seconds, without_times
from tests.tiny import tiny_model, write_tiny_config

NAMES = "red star; blue circle; yellow ring; green square; grass=stuff; sky=stuff; water=stuff; sand=stuff"
SIDE = 64
AGAIN = "{again}"  # the place of what is added to a command that goes on


@dataclass(frozen=True)
class Operation:
    """A command.

    Attributes:
        name: for the table.
        set_up: writes into an empty folder what the command needs.
        words: of the command; "{folder}" and "{server}" stand for these.
        goes_on: the word by which it goes on, where that is not by itself.
        first: pattern of the files that are there when the work has begun.
        last: of those that are there when it is all but done.
        varies: of files that no two undisturbed runs have alike in name or content.
        readers: of files that are not compared byte by byte, and how they are.
        outcome: compares what lies in several files together.
        is_done: of what is not to be repeated once it is there.
    """

    name: str
    set_up: Callable[[Path], None]
    words: tuple[str, ...]
    first: str
    last: str
    goes_on: str = ""
    varies: tuple[str, ...] = ()
    readers: Mapping[str, Reader] = field(default_factory=dict)
    outcome: Reader | None = None
    is_done: str = ""


def _training_inputs(folder: Path) -> None:
    cfg = training_cfg(
        folder,
        DATALOADER__NUM_WORKERS=1,
        SOLVER__MAX_ITER=24,
        SOLVER__CHECKPOINT_PERIOD=4,
        TEST__EVAL_PERIOD=8,
    )
    cfg.OUTPUT_DIR = str(folder / "out")
    (folder / "data").rename(folder / "input")
    (folder / "input.yaml").write_text(cfg.dump().replace(f"{folder}/data/", f"{folder}/input/"), encoding="utf-8")


def _evaluation_inputs(folder: Path) -> None:
    cfg = training_cfg(
        folder,
        [(48, 64), (64, 48)] * 16,
        MODEL__MASK_FORMER__TEST__OVERLAP_THRESHOLD=0.0,
        MODEL__WEIGHTS=str(folder / "input" / "weights.pth"),
        TEST__PANOPTIC_EXPORT=True,
        TEST__WORST_IMAGES=2,
    )
    cfg.OUTPUT_DIR = str(folder / "out")
    (folder / "data").rename(folder / "input")
    (folder / "input.yaml").write_text(cfg.dump().replace(f"{folder}/data/", f"{folder}/input/"), encoding="utf-8")
    weights = tiny_model(MODEL__MASK_FORMER__DEC_LAYERS=2, MODEL__SEM_SEG_HEAD__NUM_CLASSES=3).state_dict()
    torch.save({"model": weights}, folder / "input" / "weights.pth")


def _folder_inputs(folder: Path) -> None:
    for number in range(24):
        path = folder / "input" / ("sub" if number % 4 == 0 else "") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render_scene(np.random.default_rng(number), SIDE, SIDE).image).save(path)


def _video_inputs(folder: Path) -> None:
    scenes = render_clip(np.random.default_rng([2001, 0]), SIDE, SIDE, frames=110, cuts=(40,))
    with open_video_writer(folder / "input.mp4", 10, (SIDE, SIDE)) as writer:
        for scene in scenes:
            writer.write(scene.image)


def _preparation_inputs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    base = folder / "ADEChallengeData2016"
    for split, count in (("training", 60), ("validation", 30)):
        for number in range(count):
            stem = f"{split}/ADE_{number:08d}"
            write_image(base / f"images/{stem}.jpg", (120, 160), number)
            write_labels(base / f"annotations/{stem}.png", rng.integers(0, 151, (12, 16)).repeat(10, 0).repeat(10, 1))
            objects = np.zeros((120, 160, 3))
            for one in range(1, 6):
                top, left = rng.integers(0, 100, 2)
                objects[top : top + 20, left : left + 20] = (20 * one, one, 0)
            write_labels(base / f"annotations_instance/{stem}.png", objects)


def _export_inputs(folder: Path) -> None:
    write_tiny_config(folder, "resnet", MODEL__FC_CLIP__TEXT_CACHE=False).rename(folder / "input.yaml")


def _prediction_inputs(folder: Path) -> None:
    write_images(folder / "input", 60)
    write_tiny_config(folder).rename(folder / "input.yaml")


def _nothing(folder: Path) -> None:
    pass


def predicted(target: Path) -> object:
    """All PNGs, and all records of the index less what tells of the run; however they are spread over files."""
    names = ("id", "image_id", "height", "width", "segments", "error")
    rows = sorted(pq.read_table(target / "index.parquet", columns=list(names)).to_pylist(), key=lambda row: row["id"])
    wanted = {path.stem for path in (target / "index.parquet").iterdir()}
    written = {path.name.partition(".")[0] for path in (target / "shards").iterdir()}
    return rows, panoptic_pngs(target), f"shards without an index: {sorted(written - wanted)}"


_MODEL = ("--model", "panoshapes", "--device", "cpu", "--vocabulary", NAMES, AGAIN)
_SMALL = ("--opts", "INPUT.MIN_SIZE_TEST", str(SIDE), "MODEL.MASK_FORMER.TEST.INSTANCE_ON", "False")
_TRAINER = ("train_net.py", "--config-file", "{folder}/input.yaml")
_RESULTS = {"*/results.json": without_times, "*/results.md": without_seconds}
_LOGS = ("out/log.txt", "out/events.out.*")

OPERATIONS = (
    Operation(
        "training",
        _training_inputs,
        (*_TRAINER, AGAIN),
        first="out/metrics.json",
        last="out/model_final.pth",
        goes_on="--resume",
        varies=(*_LOGS, "out/model_[0-9]*.pth"),  # one more checkpoint is saved at SIGTERM
        outcome=lambda folder: [tensors(folder / "out" / f"model_{number:07d}.pth") for number in range(3, 24, 4)],
        readers={"*.pth": tensors, "out/metrics.json": iterations, **_RESULTS},
    ),
    Operation(
        "evaluation",
        _evaluation_inputs,
        (*_TRAINER, "--eval-only"),
        first="out/inference/*/unfinished/rank0.jsonl",
        last="out/inference/*/results.json",
        varies=_LOGS,
        readers=_RESULTS,
    ),
    Operation(
        "folder",
        _folder_inputs,
        (
            "fcclip",
            "segment",
            "{folder}/input",
            "--subfolders",
            "--output",
            "out",
            "--json",
            "out.json",
            *_MODEL,
            *_SMALL,
        ),
        first="out/summary/done/rank0.jsonl",
        last="out/summary/summary.csv",
        goes_on="--resume",
        readers={"out/summary/done/*": journal},
    ),
    Operation(
        "video",
        _video_inputs,
        (
            *("fcclip", "video", "{folder}/input.mp4", "--output", "out.mp4", "--json", "out.json"),
            *("--save-tracks", "tracks", *_MODEL, *_SMALL),
        ),
        first="out.mp4.partial/video.mp4",
        last="out.mp4",
        goes_on="--resume",
    ),
    Operation(
        "preparation",
        _preparation_inputs,
        ("datasets/prepare_ade20k_pan_seg.py", "--root", "{folder}", "--workers", "2"),
        first="ADEChallengeData2016/ade20k_panoptic_train/*.png",
        last="ADEChallengeData2016/ade20k_panoptic_val.json",
    ),
    Operation(
        "export",
        _export_inputs,
        (
            "fcclip",
            "export",
            "--config-file",
            "input.yaml",
            "--random-weights",
            "--output",
            "out",
            "--vocabulary",
            NAMES,
        ),
        first=".out-*/*",
        last="out/manifest.json",
        is_done="out/manifest.json",
    ),
    Operation(
        "prediction",
        _prediction_inputs,
        (
            *("fcclip", "predict", "{folder}/input", "--output", "out", "--config-file", "input.yaml"),
            *("--vocabulary", NAMES, "--shard-size", "16", "--flush-seconds", "0.3", "--merge"),
        ),
        first="out/shards/*.tar",
        last="out/panoptic.json",
        varies=("out/index.parquet/*", "out/shards/*", "out/manifest.json"),
        readers={"out/panoptic.json": lambda path: sorted(path.read_text().splitlines())},
        outcome=lambda folder: predicted(folder / "out"),
    ),
    Operation(
        "download",
        _nothing,
        ("tests/faults/fetch.py", "{server}", "{folder}/out"),
        first="out/*/.*.part",
        last="out/done",
        readers={"*.png": pixels},  # they also tell when their sources were unpacked
    ),
    Operation(
        "server",
        _nothing,
        ("tests/faults/visit.py", "answers.json"),
        first="tmp/*",
        last="answers.json",
        readers={"answers.json": digest},
    ),
)
