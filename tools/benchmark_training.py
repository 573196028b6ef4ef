"""Measure a training step: seconds and memory, where the time goes, and what each option of training saves.

    python tools/benchmark_training.py
    python tools/benchmark_training.py --config-file CONFIG.yaml --size 1024 --batch 2 [KEY VALUE ...]
    python tools/benchmark_training.py --compare --json step.json

With --compare every option of training runs alone, then all together, in turns with the step that has none, from the
same weights in one process, so that a machine whose speed drifts slows all of them alike; peaks of memory are those of
a process each. How far the losses differ is printed, of the first step and of one after some updates.

The image is noise with ten masks, the weights are random, class names are random vectors: none of it changes the time.
By default the ResNet-50 of FC-CLIP at 1024 pixels on a GPU, at 256 pixels on the CPU; on a GPU in SOLVER.AMP's
precision, on the CPU in float32.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from detectron2.structures import Instances
from tabulate import tabulate
from torch import Tensor

from fcclip import get_cfg
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.engine.errors import run_tool
from fcclip.engine.optimizer import build_optimizer, clip_gradients, trainable
from fcclip.engine.precision import Precision
from fcclip.engine.writers import peak_memory
from fcclip.files.atomic import write_json
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.speed.acceleration import accelerate_training
from fcclip.text import TextClassifier

CONFIG = Path(__file__).resolve().parents[1] / (
    "configs/coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k_r50.yaml"
)
MASKS = 10
NAMES_OF_A_CLASS = 2
PARTS = {
    "CLIP": "model.backbone.training_features",
    "pixel decoder": "model.sem_seg_head.pixel_decoder.forward_features",
    "masked decoder": "model.sem_seg_head.predictor.forward",
    "criterion": "model.criterion.forward",
    "backward": "backward",
    "optimiser": "update",
}
OFF: dict[str, Any] = {
    "MODEL.FC_CLIP.TRAINING_TOWER_DTYPE": "float32",
    "MODEL.SEM_SEG_HEAD.ACTIVATION_CHECKPOINTING": False,
    "SOLVER.FUSED_ADAMW": False,
}
ON: dict[str, dict[str, Any]] = {
    "tower in bfloat16": {"MODEL.FC_CLIP.TRAINING_TOWER_DTYPE": "bfloat16"},
    "activation checkpointing": {"MODEL.SEM_SEG_HEAD.ACTIVATION_CHECKPOINTING": True},
    "fused AdamW": {"SOLVER.FUSED_ADAMW": True},
}
BASE = "all off"
VARIANTS = {BASE: {}, **ON, "all on": {key: value for keys in ON.values() for key, value in keys.items()}}
EQUAL = ("activation checkpointing", "fused AdamW")  # these do not touch the losses of the first step
TOLERANCE = 1e-4
CHECKED_STEPS = 3


class TrainingStep:
    """A model with random weights and the optimiser of its config: what the trainer does in an iteration."""

    def __init__(self, cfg: CfgNode) -> None:
        torch.manual_seed(0)
        self.cfg = cfg
        self.model = build_model(cfg).train()
        rows = torch.randn(NAMES_OF_A_CLASS * cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES, self.model.backbone.dim_latent)
        classes = [row // NAMES_OF_A_CLASS for row in range(len(rows))]
        text = TextClassifier.build(torch.nn.functional.normalize(rows, dim=-1), classes)
        vocabularies = self.model.vocabularies
        trained = EncodedVocabulary(vocabularies.train_vocabulary, text, torch.ones(len(text), dtype=torch.bool))
        vocabularies.train = trained.to
        accelerate_training(self.model, cfg)
        self.optimizer, self.precision = build_optimizer(cfg, self.model), Precision(cfg)

    def __call__(self, batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        """One step; its losses."""
        with self.precision.autocast():
            losses = self.model(batch)
        self.backward(losses)
        self.update()
        return {name: loss.detach() for name, loss in losses.items()}

    def backward(self, losses: dict[str, Tensor]) -> None:
        self.precision.scaler.scale(torch.stack(list(losses.values())).sum()).backward()

    def update(self) -> None:
        scaler = self.precision.scaler
        scaler.unscale_(self.optimizer)
        clip_gradients(self.cfg, trainable(self.optimizer))
        scaler.step(self.optimizer)
        scaler.update()
        self.optimizer.zero_grad()


class Clock:
    """Adds up the time of parts; waits for the GPU at their ends."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def watch(self, step: TrainingStep) -> None:
        """Time the parts of a step from now on."""
        for part, path in PARTS.items():
            owner: Any = step
            *parents, name = path.split(".")
            for parent in parents:
                owner = getattr(owner, parent)
            setattr(owner, name, self._timed(part, getattr(owner, name)))

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = now()
            result = function(*args, **kwargs)
            self.spent[part] += now() - start
            return result

        return run


@dataclass
class Row:
    """What was measured of one variant; the errors are relative to the losses of the one with all options off.

    Attributes:
        seconds: of each step.
        peak_mb: of a process that runs it alone.
        first_error: of the first step's losses.
        last_error: of the losses after the updates of the steps before.
    """

    name: str
    seconds: list[float]
    peak_mb: float
    first_error: float
    last_error: float


def now() -> float:
    """Seconds, when everything that was asked of the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def load(config_file: str, opts: list[str], on_gpu: bool) -> CfgNode:
    """The configuration with a random CLIP."""
    cfg = get_cfg()
    cfg.merge_from_file(config_file)
    cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS = True
    if not on_gpu:
        cfg.MODEL.DEVICE, cfg.SOLVER.AMP.ENABLED = "cpu", False
    cfg.merge_from_list(opts)
    register_custom_datasets(cfg)
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes)
    return cfg


def variant(cfg: CfgNode, name: str) -> CfgNode:
    """The configuration with the options of one of VARIANTS, and no others."""
    chosen = cfg.clone()
    chosen.merge_from_list([item for pair in {**OFF, **VARIANTS[name]}.items() for item in pair])
    return chosen


def make_batch(cfg: CfgNode, size: int, batch: int) -> list[dict[str, Any]]:
    """Noise with rectangular masks."""
    samples = []
    for _ in range(batch):
        masks = torch.zeros(MASKS, size, size, dtype=torch.bool)
        for index, mask in enumerate(masks):
            mask[index * size // (2 * MASKS) :, index * size // MASKS : (index + 1) * size // MASKS] = True
        instances = Instances((size, size))
        instances.gt_masks, instances.gt_classes = masks, torch.arange(MASKS) % cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        image = torch.randint(256, (3, size, size), dtype=torch.uint8)
        samples.append({"image": image, "instances": instances})
    return samples


def measure_parts(cfg: CfgNode, batch: list[dict[str, Any]], steps: int) -> tuple[float, dict[str, float]]:
    """Mean seconds of a step and of its parts, after one that is not timed."""
    step, clock = TrainingStep(cfg), Clock()
    step(batch)
    clock.watch(step)
    start = now()
    for _ in range(steps):
        step(batch)
    return (now() - start) / steps, {part: spent / steps for part, spent in clock.spent.items()}


def compare(cfg: CfgNode, batch: list[dict[str, Any]], turns: int, peaks: dict[str, float]) -> list[Row]:
    """Run all variants in turns.

    Args:
        turns: steps of each variant that are timed, after those whose losses are compared.
        peaks: MB of each variant.

    Raises:
        RuntimeError: an option that should not change the losses does.
    """
    steps = {name: TrainingStep(variant(cfg, name)) for name in VARIANTS}
    losses = {name: seeded_losses(step, batch) for name, step in steps.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            start = now()
            step(batch)
            seconds[name].append(now() - start)
    rows = []
    for name in steps:
        errors = [largest_error(own, base) for own, base in zip(losses[name], losses[BASE], strict=True)]
        rows.append(Row(name, seconds[name], peaks[name], errors[0], errors[-1]))
        if name in EQUAL and not errors[0] <= TOLERANCE:
            raise RuntimeError(f'the losses with "{name}" are off by {errors[0]:.1e}; do not trust the times')
    return rows


def seeded_losses(step: TrainingStep, batch: list[dict[str, Any]]) -> list[Tensor]:
    """All losses of the first steps, whose points and dropout are those of other models' first steps."""
    found = []
    for seed in range(CHECKED_STEPS):
        torch.manual_seed(seed)
        found.append(torch.stack(list(step(batch).values())).float().cpu())
    return found


def largest_error(losses: Tensor, expected: Tensor) -> float:
    """Largest relative difference."""
    return ((losses - expected).abs() / expected.abs()).max().item()


def peak_alone(cfg: CfgNode, batch: list[dict[str, Any]], name: str) -> float:
    """MB at most of this process, which has done nothing else: two steps, as the first has no optimiser state yet."""
    step = TrainingStep(variant(cfg, name))
    for _ in range(2):
        step(batch)
    return peak_memory()


def peaks_in_processes(arguments: Sequence[str]) -> dict[str, float]:
    """`peak_alone` of all variants, each in a process of its own."""
    peaks = {}
    for name in VARIANTS:
        command = [sys.executable, __file__, "--peak-of", name, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peaks[name] = float(done.stdout.split()[-1])
    return peaks


def print_parts(seconds: float, parts: dict[str, float]) -> None:
    rows = [(part, spent, f"{100 * spent / seconds:.0f} %") for part, spent in parts.items()]
    print(tabulate([*rows, ("step", seconds, "")], headers=("", "seconds", ""), floatfmt=".3f"))
    print(f"{peak_memory():.0f} MB at most")


def print_comparison(rows: list[Row], images: int) -> None:
    """Medians; ratios of time are medians of the ratios turn by turn."""
    base = rows[0]
    table = []
    for row in rows:
        median = statistics.median(row.seconds)
        ratio = statistics.median(own / other for own, other in zip(row.seconds, base.seconds, strict=True))
        memory = (f"{row.peak_mb:.0f}", f"{row.peak_mb / base.peak_mb:.2f}")
        errors = (f"{row.first_error:.1e}", f"{row.last_error:.1e}")
        table.append((row.name, f"{median:.3f}", f"{images / median:.2f}", f"{ratio:.2f}", *memory, *errors))
    headers = ("", "seconds", "images/s", "ratio", "peak MB", "ratio", "losses off by", f"at step {CHECKED_STEPS}")
    print(tabulate(table, headers=headers, tablefmt="github", disable_numparse=True))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=str(CONFIG), metavar="FILE", help="default: FC-CLIP with ResNet-50")
    parser.add_argument("--size", type=int, default=1024 if on_gpu else 256, help="side of the image (%(default)s)")
    parser.add_argument("--batch", type=int, default=2 if on_gpu else 1, help="images of a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed (default: %(default)s)")
    parser.add_argument("--compare", action="store_true", help="compare the options of training, instead of the parts")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--peak-of", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys and values")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    on_gpu = torch.cuda.is_available()
    cfg = load(options.config_file, options.opts, on_gpu)
    batch = make_batch(cfg, options.size, options.batch)
    if options.peak_of:
        print(peak_alone(cfg, batch, options.peak_of))
        return
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    precision = cfg.SOLVER.AMP.DTYPE if cfg.SOLVER.AMP.ENABLED else "float32"
    print(f"{options.batch} images of {options.size} x {options.size}, {precision}, {device}")
    figures: dict[str, Any] = {
        "config": Path(options.config_file).name,
        "options": options.opts,
        "size": options.size,
        "batch": options.batch,
        "device": device,
        "torch": torch.__version__,
    }
    if options.compare:
        rows = compare(cfg, batch, options.steps, peaks_in_processes(arguments))
        print_comparison(rows, options.batch)
        figures["rows"] = [asdict(row) for row in rows]
    else:
        figures["seconds"], figures["parts"] = measure_parts(cfg, batch, options.steps)
        print_parts(figures["seconds"], figures["parts"])
        figures["peak_mb"] = peak_memory()
    if options.json:
        write_json(options.json, figures, indent=1)


if __name__ == "__main__":
    sys.exit(run_tool(lambda: main(sys.argv[1:])))
