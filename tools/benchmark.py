#!/usr/bin/env python3
"""How long an image takes, and how much memory, against the plain computation of the published system.

    python tools/benchmark.py                                      # ConvNeXt-L at 800x1199, 150 classes
    python tools/benchmark.py --size 1024 2048 --repeats 5
    python tools/benchmark.py --vary classes                       # 19, 150, 847 classes; also: queries, sizes, batch
    python tools/benchmark.py --memory                             # peaks, each in a process of its own

The computations run in turns in one process on the same weights, so that a machine whose speed drifts slows all of them
alike; medians, and medians of the ratios turn by turn, are printed. The results are compared. The weights are random:
the network's time does not depend on them, but far more queries compete in the panoptic merge than with trained ones.
"""

from __future__ import annotations

import argparse
import copy
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from detectron2.modeling import build_model
from torch import Tensor

import fcclip
from fcclip.acceleration import FAST_OPTIONS, accelerate
from fcclip.atomic import write_json
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.text import TextClassifier
from fcclip.vocabulary import Vocabulary

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tools.plain import plain  # noqa: E402, after the path is known

CONFIGS = REPOSITORY / "configs" / "coco" / "panoptic-segmentation" / "fcclip"
DEFAULT_CONFIG = CONFIGS / "fcclip_convnext_large_eval_ade20k.yaml"
VARIATIONS: dict[str, list[dict[str, Any]]] = {
    "classes": [{"classes": count} for count in (19, 150, 847)],
    "queries": [{"queries": count} for count in (100, 250, 500)],
    "sizes": [{"size": size} for size in ((400, 600), (800, 1199), (1024, 2048))],
    "batch": [{"batch": count} for count in (1, 2, 4)],
}
COMPUTATIONS = ("plain", "ours", "labels only", "fast")


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    config: str
    size: tuple[int, int]
    classes: int
    queries: int
    batch: int
    device: str


@dataclass
class Timing:
    """Seconds of each run: the whole, and by part."""

    total: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def median(self, part: str = "") -> float:
        return statistics.median(self.parts[part] if part else self.total)


def build(setting: Setting) -> FCCLIP:
    """The model of a setting with random weights, its classes random unit vectors."""
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(setting.config)
    cfg.MODEL.DEVICE = setting.device
    cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = ""
    cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS = True
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = setting.queries
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    model.set_vocabulary(Vocabulary.from_string(";".join(f"class {index}" for index in range(setting.classes))))
    rows = torch.nn.functional.normalize(torch.randn(2 * setting.classes, model.backbone.dim_latent), dim=-1)
    text = TextClassifier.build(rows, [index // 2 for index in range(len(rows))]).to(model.device)
    model.vocabularies.classifier = lambda training, device: text
    return model


def computation(name: str, model: FCCLIP) -> AbstractContextManager[None]:
    """The context in which the model computes as the name says."""
    if name == "plain":
        return plain(model)
    return patch.multiple(model, semantic_labels_only=True) if name == "labels only" else nullcontext()


def accelerated(model: FCCLIP) -> FCCLIP:
    """The model, changed to compute as `--fast` does."""
    cfg = fcclip.get_cfg()
    cfg.merge_from_list(list(FAST_OPTIONS))
    accelerate(model, cfg)
    return model


@contextmanager
def timed_parts(model: FCCLIP, timing: Timing) -> Iterator[None]:
    """Record how long the parts of a forward pass take."""
    head = model.sem_seg_head
    targets = {
        "backbone": (model.backbone, "forward"),
        "pixel decoder": (head.pixel_decoder, "forward_features"),
        "transformer decoder": (head.predictor, "forward"),
        "CLIP classifier": (model, "_ensemble"),
        "results": (model, "_result_of_image"),
    }
    patches = [
        patch.object(owner, name, _timed(getattr(owner, name), timing.parts[part], model.device))
        for part, (owner, name) in targets.items()
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


def _timed(run: Callable[..., Any], seconds: list[float], device: torch.device) -> Callable[..., Any]:
    def wrapper(*arguments: Any) -> Any:
        start = now(device)
        result = run(*arguments)
        seconds.append(now(device) - start)
        return result

    return wrapper


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(setting: Setting, computations: tuple[str, ...], repeats: int) -> dict[str, Timing]:
    """Run the computations in turns, after one turn that does not count.

    Raises:
        RuntimeError: if their results differ.
    """
    model = build(setting)
    generator = torch.Generator().manual_seed(0)
    height, width = setting.size
    inputs = [{"image": torch.rand(3, height, width, generator=generator) * 255} for _ in range(setting.batch)]
    models = {name: accelerated(copy.deepcopy(model)) if name == "fast" else model for name in computations}
    timings = {name: Timing() for name in computations}
    for turn in range(repeats + 1):
        results = {}
        for name, timing in timings.items():
            record = timing if turn else Timing()
            chosen = models[name]
            with torch.no_grad(), computation(name, chosen), timed_parts(chosen, record):
                start = now(chosen.device)
                results[name] = chosen(inputs)
                record.total.append(now(chosen.device) - start)
        if not turn:
            compare(results)
    return timings


def compare(results: dict[str, list[dict[str, Any]]]) -> None:
    """Check that all computations give the results of the first; of the fast one, print how far its scores are off."""
    reference_name, reference = next(iter(results.items()))
    for name, result in results.items():
        pairs = list(zip(reference, result, strict=True))
        scores = max(_score_error(one["sem_seg"], other["sem_seg"]) for one, other in pairs)
        if name == "fast":
            print(f"fast: semantic scores are off by up to {scores:.1%} of the largest score")
            continue
        pixels = max(_differing(one["panoptic_seg"][0], other["panoptic_seg"][0]) for one, other in pairs)
        if max(scores, pixels) > 1e-4:
            raise RuntimeError(f'"{name}" and "{reference_name}" give different results; do not trust the times')


def _differing(one: Tensor, other: Tensor) -> float:
    return (one != other).float().mean().item()


def _score_error(scores: Tensor, other: Tensor) -> float:
    """Largest difference of scores (C, H, W) relative to the largest score; of labels, how much the best class lost."""
    if other.ndim == 2:
        return ((scores.amax(0) - scores.gather(0, other[None])[0]) / scores.max()).max().item()
    return ((other - scores).abs().max() / scores.max()).item()


def peak_memory(setting: Setting, name: str) -> tuple[float, float]:
    """GB of a process that does nothing but build the model and one image: after building, and at most."""
    model = build(setting)
    if name == "fast":
        model = accelerated(model)
    built = _resident()
    height, width = setting.size
    with torch.no_grad(), computation(name, model):
        model([{"image": torch.rand(3, height, width) * 255}] * setting.batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return built, torch.cuda.max_memory_allocated() / 1e9 if setting.device.startswith("cuda") else peak


def _resident() -> float:
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * resource.getpagesize() / 1e9 if status.exists() else float("nan")


def print_table(setting: Setting, timings: dict[str, Timing]) -> None:
    print(f"\n{setting.classes} classes, {setting.queries} queries, {setting.size[0]}x{setting.size[1]}, "
          f"batch {setting.batch}, {setting.device}, {torch.get_num_threads()} threads")  # fmt: skip
    parts = list(next(iter(timings.values())).parts)
    print(f"{'':22}{'total':>9}{'ratio':>8}" + "".join(f"{part:>21}" for part in parts))
    baseline = next(iter(timings.values())).total
    for name, timing in timings.items():
        ratio = statistics.median(own / base for own, base in zip(timing.total, baseline, strict=True))
        cells = "".join(f"{timing.median(part):21.3f}" for part in parts)
        print(f"{name:22}{timing.median():8.2f}s{ratio:8.2f}{cells}")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Bars of the parts of each computation."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.5 * len(rows)), layout="constrained")
    labels = [f"{row['computation']}\n{row['label']}" for row in rows]
    left = [0.0] * len(rows)
    for part in rows[0]["parts"]:
        widths = [row["parts"][part] for row in rows]
        axes.barh(labels, widths, left=left, label=part)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.legend()
    figure.savefig(path, dpi=120)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=str(DEFAULT_CONFIG), metavar="FILE")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1199), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--queries", type=int, default=250)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="turns that count")
    parser.add_argument("--vary", choices=VARIATIONS, help="measure several settings")
    parser.add_argument("--only", choices=COMPUTATIONS, nargs="+", default=COMPUTATIONS, help="computations to run")
    parser.add_argument("--memory", action="store_true", help="measure peaks of memory instead of times")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures (.png, .svg)")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parse()
    base = Setting(
        options.config_file, tuple(options.size), options.classes, options.queries, options.batch, options.device
    )
    if options.peak_of:
        print(*peak_memory(base, options.peak_of))
        return
    if options.memory:
        for name in options.only:
            command = [sys.executable, *sys.argv, "--peak-of", name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            built, peak = map(float, done.stdout.split()[-2:])
            print(f"{name:22} after building {built:5.2f} GB   peak {peak:5.2f} GB")
        return
    print(f"{platform.processor() or platform.machine()}, PyTorch {torch.__version__}")
    rows = []
    for variation in VARIATIONS.get(options.vary, [{}]):
        setting = Setting(**{**asdict(base), **variation})
        timings = measure(setting, tuple(options.only), options.repeats)
        print_table(setting, timings)
        for name, timing in timings.items():
            label = ", ".join(f"{key} {value}" for key, value in variation.items())
            parts = {part: timing.median(part) for part in timing.parts}
            rows.append({"computation": name, "label": label, "total": timing.total, "parts": parts, **asdict(setting)})
    if options.json:
        write_json(options.json, {"torch": torch.__version__, "rows": rows}, indent=1)
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
