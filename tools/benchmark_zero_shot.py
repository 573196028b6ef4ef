#!/usr/bin/env python3
"""How long an image takes in one stage and in two: ZegCLIP against masks of no class whose crops a CLIP names.

    python tools/benchmark_zero_shot.py                    # ViT-B/16, 512 x 512, 20 classes, 100 masks
    python tools/benchmark_zero_shot.py --classes 171 --repeats 3

The two stages are those of zsseg (Xu et al., ECCV 2022) and ZegFormer (Ding et al., CVPR 2022), the rivals in ZegCLIP's
table of speeds: a mask generator proposes masks, and the same CLIP's ViT sees a crop of each. The generator is that of
FC-CLIP on a ResNet-50. The weights are random, as time does not depend on them. Both run in turns in one process.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from torch import Tensor, nn

from fcclip.config import load_inference_cfg
from fcclip.engine.errors import run_tool
from fcclip.meta_arch.fcclip import FCCLIP
from fcclip.meta_arch.two_stage import CROPS_PER_BATCH, crop_masks
from fcclip.meta_arch.zero_shot import ZeroShotModel

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tools.timings import Timing, print_table  # noqa: E402, after the path is known

ONE_STAGE = REPOSITORY / "configs" / "zero_shot" / "zegclip" / "voc12_inductive.yaml"
MASKS = REPOSITORY / "configs/coco/panoptic-segmentation/fcclip/fcclip_convnext_large_eval_ade20k_r50.yaml"
CROP_SIDE = 224  # pixels, as in CLIP's training
TEMPERATURE = 100.0


class CroppedMasks(nn.Module):
    """Zero-shot semantic segmentation in two stages.

    Args:
        generator: proposes masks, which have no class.
        visual: the image tower of a CLIP that sees a square crop of every mask, the rest painted over.
        crop_side: of the crops, in pixels.

    Source: Xu et al., "A Simple Baseline for Open-Vocabulary Semantic Segmentation", ECCV 2022, section 3.
    """

    def __init__(self, generator: FCCLIP, visual: nn.Module, crop_side: int = CROP_SIDE) -> None:
        super().__init__()
        self.generator, self.visual, self.crop_side = generator, visual, crop_side

    def forward(self, images: Tensor, text: Tensor) -> Tensor:
        """Normalised images (1, 3, H, W) and unit rows (K, E) of the names -> scores (1, K, H, W)."""
        masks = self.generator.decode(images).mask_logits
        masks = F.interpolate(masks, size=images.shape[-2:], mode="bilinear", align_corners=False)[0]
        crops = crop_masks(images[0], masks > 0, self.crop_side)
        embeddings = torch.cat([self.visual(some) for some in crops.split(CROPS_PER_BATCH)])
        classes = (TEMPERATURE * F.normalize(embeddings, dim=-1) @ text.T).softmax(dim=-1)
        return torch.einsum("qk,qhw->khw", classes, masks.sigmoid())[None]


def build(config: Path, masks: Path, queries: int, crop_side: int) -> tuple[ZeroShotModel, CroppedMasks]:
    """The model of one stage, and the rival with the same CLIP."""
    torch.manual_seed(0)
    one: Any = build_model(load_inference_cfg(config, device="cpu", random_weights=True)).eval()
    options = ("MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", str(queries))
    generator: Any = build_model(load_inference_cfg(masks, options, device="cpu", random_weights=True)).eval()
    plain: Any = build_model(
        load_inference_cfg(config, ("MODEL.ZERO_SHOT.CROP_SIZE", str(crop_side)), None, "cpu", True)
    )
    return one, CroppedMasks(generator, plain.backbone.clip_model.visual, crop_side).eval()


@torch.no_grad()
def measure(
    config: Path, masks: Path, side: int, classes: int, queries: int, repeats: int, crop_side: int = CROP_SIDE
) -> dict[str, Timing]:
    """Seconds of both for a made image (side, side), in turns, after a turn of the first that does not count."""
    one, two = build(config, masks, queries, crop_side)
    images = torch.randn(1, 3, side, side)
    text = F.normalize(torch.randn(classes, one.backbone.dim_latent), dim=-1)
    runs: dict[str, Callable[[], Tensor]] = {
        "one stage": lambda: one.mask_logits(images, text),
        "two stages": lambda: two(images, text),
    }
    timings = {name: Timing() for name in runs}
    parts = timings["two stages"].parts
    one.mask_logits(images, text)
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            timings[name].total.append(time.perf_counter() - start)
        start = time.perf_counter()
        two.generator.decode(images)
        parts["masks alone"].append(time.perf_counter() - start)
    return timings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", type=Path, default=ONE_STAGE, metavar="FILE", help="of the one stage")
    parser.add_argument("--masks", type=Path, default=MASKS, metavar="FILE", help="configuration of the mask generator")
    parser.add_argument("--size", type=int, default=512, metavar="SIDE", help="default: %(default)s")
    parser.add_argument("--classes", type=int, default=20, metavar="N", help="default: %(default)s")
    parser.add_argument("--queries", type=int, default=100, metavar="N", help="masks (default: %(default)s)")
    parser.add_argument("--crop", type=int, default=CROP_SIDE, metavar="SIDE", help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=1, help="turns that count (default: %(default)s)")
    args = parser.parse_args()
    timings = measure(
        args.config_file, args.masks, args.size, args.classes, args.queries, args.repeats, crop_side=args.crop
    )
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    title = f"{args.size} x {args.size}, {args.classes} classes, {args.queries} masks, {machine}"
    print_table(title, timings)


if __name__ == "__main__":
    sys.exit(run_tool(main))
