#!/usr/bin/env python3
"""How long an image takes, and how much memory, against the plain computation of the published system.

    python tools/benchmark.py                                      # ConvNeXt-L at 800x1199, 150 classes
    python tools/benchmark.py --size 1024 2048 --repeats 5
    python tools/benchmark.py --vary classes                       # 19, 150, 847 classes; also: queries, sizes, batch
    python tools/benchmark.py --engines --size 480 640             # PyTorch and exported, beside each other
    python tools/benchmark.py --engines pytorch onnxruntime --vary queries    # sizes, classes
    python tools/benchmark.py --memory                             # peaks, each in a process of its own
    python tools/benchmark.py --only ours bfloat16 "channels last" compile    # options, each on its own
    python tools/benchmark.py --only ours two-stage --queries 100 --repeats 1
    python tools/benchmark.py --profile                            # each part against what the machine can do

The computations run in turns in one process, and so do settings, so that a machine whose speed drifts slows all of them
alike; medians, and medians of the ratios turn by turn, are printed. The results of a setting are compared. The weights
are random: the network's time does not depend on them, but far more queries compete in the panoptic merge than with
trained ones.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import fcclip  # isort: skip # before Detectron2, whose warnings it silences
import torch
from detectron2.modeling import build_model
from torch import Tensor

from fcclip.config import fast_options
from fcclip.engine.errors import run_tool
from fcclip.files.atomic import write_json
from fcclip.files.process_memory import peak_bytes, resident_bytes
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.vocabularies import EncodedVocabulary
from fcclip.speed.acceleration import accelerate
from fcclip.text import TextClassifier
from fcclip.vocabulary import Vocabulary

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tools.engines import ENGINES, measure_engines  # noqa: E402, after the path is known
from tools.profiling import Rates, now, print_profile, profile  # noqa: E402
from tools.published import as_published  # noqa: E402, after the path is known
from tools.timings import Timing, draw, print_growth, print_table  # noqa: E402

CONFIGS = REPOSITORY / "configs" / "coco" / "panoptic-segmentation" / "fcclip"
DEFAULT_CONFIG = CONFIGS / "fcclip_convnext_large_eval_ade20k.yaml"
VARIATIONS: dict[str, list[dict[str, Any]]] = {
    "classes": [{"classes": count} for count in (19, 150, 847)],
    "queries": [{"queries": count} for count in (100, 250, 500)],
    "sizes": [{"size": size} for size in ((400, 600), (800, 1199), (1024, 2048))],
    "batch": [{"batch": count} for count in (1, 2, 4)],
}
FAST = fast_options("cuda" if torch.cuda.is_available() else "cpu")
HALF = "MODEL.FC_CLIP.INFERENCE_DTYPE"
COMPILE = ("MODEL.FC_CLIP.COMPILE", "True")
CUDA_GRAPHS = ("MODEL.FC_CLIP.CUDA_GRAPHS", "True")
OPTIONS: dict[str, tuple[str, ...]] = {
    "fast": FAST,
    "bfloat16": (HALF, "bfloat16"),
    "float16": (HALF, "float16"),
    "int8": (HALF, "int8"),
    "channels last": ("MODEL.FC_CLIP.CHANNELS_LAST", "True"),
    "compile": COMPILE,
    "fast compile": (*FAST, *COMPILE),
    "cuda graphs": CUDA_GRAPHS,
    "fast cuda graphs": (*FAST, *CUDA_GRAPHS),
    "padded": ("MODEL.MASK_FORMER.SIZE_DIVISIBILITY", "128"),  # images come in fewer sizes
}
EXACT = ("plain", "ours", "labels only")  # must agree
DEFAULT = (*EXACT, "fast")
COMPUTATIONS = (*EXACT, *OPTIONS, "two-stage")


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    config: str
    size: tuple[int, int]
    classes: int
    queries: int
    batch: int
    device: str

    def __str__(self) -> str:
        return (
            f"{self.classes} classes, {self.queries} queries, {self.size[0]}x{self.size[1]}, batch {self.batch}, "
            f"{self.device}, {torch.get_num_threads()} threads"
        )


@dataclass
class Output:
    """What a computation gave: the results of all images, and their mask logits."""

    results: list[dict[str, Any]]
    masks: list[Tensor]


def build(setting: Setting, name: str = "ours") -> FCCLIP:
    """The model that computes as the name says, with random weights, its classes random unit vectors.

    All models of a setting have the same weights. All but the plain one let the text tower go, as the `Segmenter` does.
    """
    cfg = fcclip.get_cfg()
    cfg.merge_from_file(setting.config)
    cfg.merge_from_list(list(OPTIONS.get(name, ())))
    if name == "two-stage":
        cfg.MODEL.META_ARCHITECTURE = "TwoStage"
    cfg.MODEL.DEVICE = setting.device
    cfg.MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS = ""
    cfg.MODEL.FC_CLIP.ALLOW_RANDOM_WEIGHTS = True
    cfg.MODEL.FC_CLIP.RELEASE_TEXT_TOWER = name != "plain"
    cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES = setting.queries
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    model.vocabularies.ask_for(random_classes(model, setting.classes))
    model.backbone.release_text_tower()
    accelerate(model, cfg)
    return model


def random_classes(model: FCCLIP, count: int) -> EncodedVocabulary:
    """Classes of two names each, whose embeddings are random unit vectors; half of them count as seen."""
    vocabulary = Vocabulary.from_string(";".join(f"class {index},name {index}" for index in range(count)))
    rows = torch.nn.functional.normalize(torch.randn(2 * count, model.backbone.dim_latent), dim=-1)
    text = TextClassifier.build(rows, vocabulary.class_of_name)
    return EncodedVocabulary(vocabulary, text, torch.arange(count) % 2 == 0)


def computation(name: str, model: FCCLIP) -> AbstractContextManager[None]:
    """The context in which the model computes as the name says."""
    if name == "plain":
        return as_published(model)
    return model.labels_only() if name == "labels only" else nullcontext()


def is_graph(name: str) -> bool:
    """Whether a computation is launched as a whole, so that nothing between its parts can be waited for."""
    return "MODEL.FC_CLIP.CUDA_GRAPHS" in OPTIONS.get(name, ())


@contextmanager
def timed_parts(model: FCCLIP, timing: Timing) -> Iterator[None]:
    """Record how long the parts of a forward pass take."""
    head = model.sem_seg_head
    targets = {
        "backbone": (model.backbone, "forward"),
        "pixel decoder": (head.pixel_decoder, "forward_features"),
        "transformer decoder": (head.predictor, "decode"),
        "mask embedding": (model, "embed_masks"),
        "classification": (model, "classify"),
        "results": (model, "merge"),
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


class Contest:
    """The computations of a setting, ready to run in turns.

    Attributes:
        timings: of each computation, the turns that counted.
    """

    def __init__(self, setting: Setting, computations: Sequence[str]) -> None:
        self._models = {name: build(setting, name) for name in computations if name not in EXACT}
        if exact := [name for name in computations if name in EXACT]:
            self._models |= dict.fromkeys(exact, build(setting))  # one model for all of them
        self._inputs = images(setting)
        self.timings = {name: Timing() for name in computations}

    def run(self) -> None:
        """A turn of every computation, which counts."""
        for name, timing in self.timings.items():
            self._run(name, timing)

    def warm_up(self) -> None:
        """A turn that does not count, after which the results are compared.

        Raises:
            RuntimeError: if results differ that must not.
        """
        compare({name: self._run(name, Timing()) for name in self.timings})

    def _run(self, name: str, timing: Timing) -> Output:
        model = self._models[name]
        parts = nullcontext() if is_graph(name) else timed_parts(model, timing)
        with torch.no_grad(), computation(name, model), recorded_masks(model) as masks, parts:
            start = now(model.device)
            results = model(self._inputs)
            timing.total.append(now(model.device) - start)
        return Output(results, masks)


def measure(settings: Sequence[Setting], computations: Sequence[str], repeats: int) -> list[dict[str, Timing]]:
    """Run the computations of all settings in turns, after one turn that does not count; timings by setting.

    Raises:
        RuntimeError: if results differ that must not.
    """
    contests = [Contest(setting, computations) for setting in settings]
    for contest in contests:
        contest.warm_up()
    for _ in range(repeats):
        for contest in contests:
            contest.run()
    return [contest.timings for contest in contests]


def images(setting: Setting) -> list[dict[str, Any]]:
    """The inputs of a setting, always the same noise."""
    generator = torch.Generator().manual_seed(0)
    return [{"image": torch.rand(3, *setting.size, generator=generator) * 255} for _ in range(setting.batch)]


@contextmanager
def recorded_masks(model: FCCLIP) -> Iterator[list[Tensor]]:
    """Collect the mask logits of every image."""
    masks: list[Tensor] = []
    merge = model.merge

    def record(class_logits: Tensor, mask_logits: Tensor, *others: Any) -> dict[str, Any]:
        masks.append(mask_logits)
        return merge(class_logits, mask_logits, *others)

    with patch.object(model, "merge", record):
        yield masks


def compare(outputs: dict[str, Output]) -> None:
    """Print how far each computation is off the first, and check those that must not be."""
    (reference_name, reference), *others = outputs.items()
    is_rounded = reference.masks[0].is_cuda and torch.backends.cudnn.allow_tf32  # to 10 bits, in convolutions
    tolerance = 1e-3 if is_rounded else 1e-4
    if others:
        print(f"\n{'off from ' + reference_name:22}{'scores':>10}{'masks':>10}{'labels':>10}{'panoptic':>10}")
    for name, output in others:
        errors = largest_errors(reference, output)
        print(f"{name:22}" + "".join(f"{error:10.1e}" for error in errors.values()))
        if name in EXACT and max(errors["scores"], errors["panoptic"]) > tolerance:
            raise RuntimeError(f'"{name}" and "{reference_name}" give different results; do not trust the times')


def largest_errors(reference: Output, output: Output) -> dict[str, float]:
    """Errors of the worst image.

    Returns:
        Largest differences of semantic `scores` and of `masks`, relative to the largest of each, and the shares of
        pixels whose semantic `labels` or `panoptic` segment differ.
    """
    errors = []
    rows = zip(reference.results, output.results, reference.masks, output.masks, strict=True)
    for one, other, masks, other_masks in rows:
        height, width = (min(sizes) for sizes in zip(masks.shape[-2:], other_masks.shape[-2:], strict=True))
        shown, other_shown = masks[:, :height, :width], other_masks[:, :height, :width]
        errors.append(
            {
                "scores": _score_error(one["sem_seg"], other["sem_seg"]),
                "masks": ((other_shown - shown).abs().max() / shown.abs().max()).item(),
                "labels": _differing(_labels(one["sem_seg"]), _labels(other["sem_seg"])),
                "panoptic": _differing(one["panoptic_seg"][0], other["panoptic_seg"][0]),
            }
        )
    return {name: max(error[name] for error in errors) for name in errors[0]}


def _labels(sem_seg: Tensor) -> Tensor:
    return sem_seg if sem_seg.ndim == 2 else sem_seg.argmax(dim=0)


def _differing(one: Tensor, other: Tensor) -> float:
    return (one != other).float().mean().item()


def _score_error(scores: Tensor, other: Tensor) -> float:
    """Of scores (C, H, W) the largest difference; of labels, how much the best class lost. Relative to the largest."""
    if scores.ndim == 2:
        return float("nan")
    if other.ndim == 2:
        return ((scores.amax(0) - scores.gather(0, other[None])[0]) / scores.max()).max().item()
    return ((other - scores).abs().max() / scores.max()).item()


def peak_memory(setting: Setting, name: str) -> tuple[float, float]:
    """GB of a process that does nothing but build the model and one image: after building, and at most."""
    model = build(setting, name)
    built = resident_bytes() / 1e9
    with torch.no_grad(), computation(name, model):
        model(images(setting))
    is_gpu = setting.device.startswith("cuda")
    return built, (torch.cuda.max_memory_allocated() if is_gpu else peak_bytes()) / 1e9


def profile_all(setting: Setting, names: Sequence[str], repeats: int) -> None:
    """Print where each computation spends its time.

    Raises:
        ValueError: if a computation cannot be taken apart.
    """
    for name in names:
        if name == "plain" or "MODEL.FC_CLIP.COMPILE" in OPTIONS.get(name, ()) or is_graph(name):
            raise ValueError(f'"{name}" has no parts to profile; choose others by --only')
    rates = Rates.measure(torch.device(setting.device))
    for name in names:
        model = build(setting, name)
        with torch.no_grad(), computation(name, model):
            print(f"\n{name}")
            print_profile(profile(model, images(setting), repeats), rates)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=str(DEFAULT_CONFIG), metavar="FILE")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1199), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--queries", type=int, default=250)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="turns that count")
    parser.add_argument("--vary", choices=VARIATIONS, help="measure several settings")
    parser.add_argument(
        "--only",
        choices=COMPUTATIONS,
        nargs="+",
        default=DEFAULT,
        metavar="NAME",
        help=f"computations to run: {', '.join(COMPUTATIONS)} (default: {', '.join(DEFAULT)})",
    )
    parser.add_argument("--profile", action="store_true", help="time the parts of 'ours' and 'fast', or of --only")
    parser.add_argument(
        "--engines",
        nargs="*",
        choices=ENGINES,
        metavar="NAME",
        help=f"measure every way to run instead, or some: {', '.join(ENGINES)} (docs/deployment.md)",
    )
    parser.add_argument("--memory", action="store_true", help="measure peaks of memory instead of times")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures (.png, .svg)")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engines is not None and (options.vary == "batch" or options.batch != 1):
        parser.error("engines segment one picture at a time; leave out --batch and --vary batch")
    return options


def main() -> None:
    options = parse()
    base = Setting(
        options.config_file, tuple(options.size), options.classes, options.queries, options.batch, options.device
    )
    variations = VARIATIONS.get(options.vary, [{}])
    labels = [", ".join(f"{key} {value}" for key, value in variation.items()) for variation in variations]
    settings = [Setting(**{**asdict(base), **variation}) for variation in variations]
    if options.engines is not None:
        for setting in settings:
            print(f"\n{setting}")
            names = options.engines or ENGINES
            measure_engines(setting.config, setting.size, setting.classes, setting.queries, options.repeats, names)
        return
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
    if options.profile:
        profile_all(base, ("ours", "fast") if options.only == DEFAULT else options.only, options.repeats)
        return
    measured = measure(settings, options.only, options.repeats)
    rows = []
    for setting, label, timings in zip(settings, labels, measured, strict=True):
        print_table(str(setting), timings)
        for name, timing in timings.items():
            parts = {part: timing.median(part) for part in timing.parts}
            rows.append({"computation": name, "label": label, "total": timing.total, "parts": parts, **asdict(setting)})
    if options.vary:
        print_growth(labels, measured)
    if options.json:
        write_json(options.json, {"torch": torch.__version__, "rows": rows}, indent=1)
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    sys.exit(run_tool(main))
