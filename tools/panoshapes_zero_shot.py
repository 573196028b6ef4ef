#!/usr/bin/env python3
"""What each design of ZegCLIP and Cascade-CLIP brings on PanoShapes: trains them all, writes a table, draws curves.

Needs the small ViT CLIP (tools/train_panoshapes_clip.py --recipe vit-few). Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from tabulate import tabulate

from fcclip import get_cfg
from fcclip.engine.errors import run_tool
from fcclip.evaluation.report.repeats import mean_and_deviation
from fcclip.files.atomic import atomic_path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tools.plot_training import read_curve  # noqa: E402, after the path is known

METRICS = ("pACC", "mIoU_seen", "mIoU_unseen", "hIoU")
RESULTS = Path("inference/panoshapes_val_few_panoptic/results.json")
CURVES = ("mIoU_seen", "mIoU_unseen")  # drawn over the iterations, of the first scenes of the validation set
CURVE_SET = "('panoshapes_mini_few_panoptic',)"
EVALUATIONS = 8  # per training


@dataclass(frozen=True)
class Row:
    """A model of the table.

    Attributes:
        config: name in configs/panoshapes.
        options: configuration keys and values that make the difference.
        trained: whether there is anything to train.
        starts_from: the row whose half-way checkpoint it begins with.
        evaluates: the row whose trained model it is.
    """

    config: str
    options: tuple[str, ...] = ()
    trained: bool = True
    starts_from: str = ""
    evaluates: str = ""


ROWS = {
    "MaskCLIP, training-free": Row("dense_clip_small", trained=False),
    "CLIP's own patches, training-free": Row(
        "dense_clip_small", ("MODEL.ZERO_SHOT.DENSE_PATCHES", "tokens"), trained=False
    ),
    "MaskCLIP+, transductive": Row("dense_clip_small_transductive"),
    "ZegCLIP": Row("zegclip_small"),
    "ZegCLIP, seen penalty 0.1": Row("zegclip_small", ("MODEL.ZERO_SHOT.SEEN_PENALTY", "0.1"), evaluates="ZegCLIP"),
    "ZegCLIP, random start": Row("zegclip_small", ("MODEL.ZERO_SHOT.ALIGNED_START", "False")),
    "ZegCLIP, fixed encoder": Row("zegclip_small", ("MODEL.ZERO_SHOT.ENCODER", "fixed")),
    "ZegCLIP, fine-tuned encoder": Row(
        "zegclip_small", ("MODEL.ZERO_SHOT.ENCODER", "fine_tuned", "SOLVER.BACKBONE_MULTIPLIER", "0.1")
    ),
    "ZegCLIP, fine-tuned encoder, full rate": Row(
        "zegclip_small", ("MODEL.ZERO_SHOT.ENCODER", "fine_tuned", "SOLVER.BACKBONE_MULTIPLIER", "1.0")
    ),
    "ZegCLIP, loss without dice": Row("zegclip_small", ("MODEL.ZERO_SHOT.DICE_WEIGHT", "0.0")),
    "ZegCLIP, loss of labelled pixels alone": Row("zegclip_small", ("MODEL.ZERO_SHOT.LOSS", "nel_labelled")),
    "ZegCLIP, softmax loss": Row("zegclip_small", ("MODEL.ZERO_SHOT.LOSS", "softmax")),
    "ZegCLIP, without descriptor": Row("zegclip_small", ("MODEL.ZERO_SHOT.DESCRIPTOR", "False")),
    "ZegCLIP, transductive": Row("zegclip_small_transductive", starts_from="ZegCLIP"),
    "Cascade-CLIP": Row("cascade_clip_small"),
    "Cascade-CLIP, one decoder": Row("cascade_clip_small", ("MODEL.ZERO_SHOT.BLOCK_GROUPS", "[[1, 2, 3, 4, 5]]")),
    "Cascade-CLIP, trained projections": Row(
        "cascade_clip_small",
        ("MODEL.ZERO_SHOT.LEVEL_PROJECTION", "clip", "MODEL.ZERO_SHOT.TRAIN_LEVEL_PROJECTION", "True"),
    ),
    "ZegCLIP, fully supervised": Row("zegclip_small", ("MODEL.ZERO_SHOT.SETTING", "fully_supervised")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="default: %(default)s")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help="default: all")
    parser.add_argument("--output", type=Path, default=Path("output/panoshapes_zero_shot"), metavar="FOLDER")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys, at the end")
    args = parser.parse_args()
    table = []
    for name in args.rows:
        seeds = args.seeds if ROWS[name].trained else args.seeds[:1]
        found = [run(name, seed, args.output, args.opts, has_curve=seed == args.seeds[0]) for seed in seeds]
        table.append({"model": name, **{metric: mean_and_deviation([x[metric] for x in found]) for metric in METRICS}})
        print(tabulate(table[-1:], headers="keys", tablefmt="github"), flush=True)
    draw_curves({name: folder_of(name, args.seeds[0], args.output) for name in args.rows}, args.output / "curves.png")
    text = tabulate(table, headers="keys", tablefmt="github")
    (args.output / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def run(name: str, seed: int, output: Path, opts: list[str], has_curve: bool) -> dict[str, float]:
    """Train and evaluate a row with one seed, and first the row that it needs, unless that is done; its metrics.

    With `has_curve` the training stops for the evaluations that `draw_curves` draws; they take a third of its time.
    """
    row, folder = ROWS[name], folder_of(name, seed, output)
    if not (folder / RESULTS).is_file():
        config = REPOSITORY / "configs" / "panoshapes" / f"{row.config}.yaml"
        options = ["SEED", str(seed), "OUTPUT_DIR", str(folder), *row.options, *opts]
        weights = first_weights(row, seed, output, opts, has_curve)
        if row.trained and not row.evaluates:
            period = str(max(1, iterations(config, opts) // EVALUATIONS) if has_curve else 0)
            start(config, "--resume", [*options, *weights, "DATASETS.TEST", CURVE_SET, "TEST.EVAL_PERIOD", period])
            weights = ["MODEL.WEIGHTS", str(folder / "model_final.pth")]
        start(config, "--eval-only", [*options, *weights])
    results = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    return {metric: results["results"]["sem_seg"][metric] for metric in METRICS}


def start(config: Path, mode: str, options: list[str]) -> None:
    """Run train_net.py to its end."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    command = [sys.executable, str(REPOSITORY / "train_net.py"), "--config-file", str(config), mode]
    subprocess.run([*command, "MODEL.DEVICE", device, *options], check=True)


def iterations(config: Path, opts: list[str]) -> int:
    """The length of a training."""
    cfg = get_cfg()
    cfg.merge_from_file(str(config))
    cfg.merge_from_list(opts)
    return int(cfg.SOLVER.MAX_ITER)


def draw_curves(folders: dict[str, Path], output: Path) -> None:
    """Draw IoU of seen and unseen classes over the iterations of the trainings in some folders, by name."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(CURVES), figsize=(11, 4), dpi=120, sharey=True, layout="constrained")
    for axis, metric in zip(axes, CURVES, strict=True):
        for name, folder in folders.items():
            path = folder / "metrics.json"
            if path.is_file():
                curve = read_curve(path, f"sem_seg/{metric}")
                axis.plot(list(curve), list(curve.values()), marker=".", label=name)
        axis.set_title(metric)
        axis.set_xlabel("iteration")
        axis.grid(alpha=0.3)
    if axes[0].lines:
        axes[0].legend(fontsize="small")
    with atomic_path(output) as scratch:
        figure.savefig(scratch, format="png")
    plt.close(figure)


def first_weights(row: Row, seed: int, output: Path, opts: list[str], has_curve: bool) -> list[str]:
    """The option that names the weights of the row that this one needs, which is trained if it has not been."""
    source = row.starts_from or row.evaluates
    if not source:
        return []
    run(source, seed, output, opts, has_curve)
    folder = folder_of(source, seed, output)
    return ["MODEL.WEIGHTS", str(folder / "model_final.pth" if row.evaluates else halfway(folder))]


def folder_of(name: str, seed: int, output: Path) -> Path:
    return output / name.replace(",", "").replace("'", "").replace(" ", "_") / str(seed)


def halfway(folder: Path) -> Path:
    """The first checkpoint of a finished training."""
    return min(folder.glob("model_0*.pth"))


if __name__ == "__main__":
    sys.exit(run_tool(main))
