"""Measure a training step: seconds and memory, and where the time goes.

    python tools/benchmark_training.py
    python tools/benchmark_training.py --config-file CONFIG.yaml --size 1024 --batch 2 [KEY VALUE ...]

The image is noise with ten masks, the weights are random: neither changes the time. By default the ResNet-50 of FC-CLIP
at 1024 pixels on a GPU, at 256 pixels on the CPU. On a GPU in SOLVER.AMP's precision, on the CPU in float32.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from detectron2.structures import Instances
from tabulate import tabulate
from torch import nn

from fcclip import get_cfg
from fcclip.data.datasets.custom import register_custom_datasets
from fcclip.engine.optimizer import build_optimizer, clip_gradients, trainable
from fcclip.engine.precision import Precision
from fcclip.engine.writers import peak_memory

CONFIG = Path(__file__).resolve().parents[1] / (
    "configs/coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k_r50.yaml"
)
MASKS = 10
PARTS = {
    "CLIP": "backbone.forward",
    "pixel decoder": "sem_seg_head.pixel_decoder.forward_features",
    "masked decoder": "sem_seg_head.predictor.forward",
    "criterion": "criterion.forward",
}


def main() -> None:
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default=str(CONFIG), metavar="FILE", help="default: FC-CLIP with ResNet-50")
    parser.add_argument("--size", type=int, default=1024 if on_gpu else 256, help="side of the image (%(default)s)")
    parser.add_argument("--batch", type=int, default=2 if on_gpu else 1, help="images of a step (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed (default: %(default)s)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys and values")
    options = parser.parse_args()
    cfg = load(options.config_file, options.opts, on_gpu)
    clock = Clock()
    seconds = measure(cfg, make_batch(cfg, options.size, options.batch), options.steps, clock)
    rows = [(part, spent / options.steps, f"{100 * spent / options.steps / seconds:.0f} %") for part, spent in clock]
    print(tabulate([*rows, ("step", seconds, "")], headers=("", "seconds", ""), floatfmt=".3f"))
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"
    print(f"{options.batch} images of {options.size} x {options.size} on {device}; {peak_memory():.0f} MB at most")


class Clock:
    """Adds up the time of parts; waits for the GPU at their ends."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = defaultdict(float)

    def __iter__(self) -> Any:
        return iter(self._spent.items())

    def reset(self) -> None:
        self._spent.clear()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time added to a part."""

        def run(*args: Any, **kwargs: Any) -> Any:
            start = now()
            result = function(*args, **kwargs)
            self._spent[part] += now() - start
            return result

        return run


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
    return cfg


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


def measure(cfg: CfgNode, batch: list[dict[str, Any]], steps: int, clock: Clock) -> float:
    """Mean seconds of a step, after one that is not timed (it encodes the class names)."""
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).stuff_classes)
    model = build_model(cfg).train()
    optimizer, precision = build_optimizer(cfg, model), Precision(cfg)
    for part, path in PARTS.items():
        *parents, name = path.split(".")
        owner: nn.Module = model.get_submodule(".".join(parents))
        setattr(owner, name, clock.timed(part, getattr(owner, name)))

    def backward(losses: dict[str, Any]) -> None:
        precision.scaler.scale(torch.stack(list(losses.values())).sum()).backward()

    def update() -> None:
        precision.scaler.unscale_(optimizer)
        clip_gradients(cfg, trainable(optimizer))
        precision.scaler.step(optimizer)
        precision.scaler.update()
        optimizer.zero_grad()

    start = 0.0
    for step in range(steps + 1):
        if step == 1:
            clock.reset()
            start = now()
        with precision.autocast():
            losses = model(batch)
        clock.timed("backward", backward)(losses)
        clock.timed("optimiser", update)()
    return (now() - start) / steps


if __name__ == "__main__":
    main()
