#!/usr/bin/env python3
"""Train a small CLIP of PanoShapes, or go on with it, and tell its zero-shot accuracy. See docs/panoshapes.md."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from tabulate import tabulate

from fcclip.clip.loading import LoadedClip
from fcclip.commands.errors import run_tool
from fcclip.data.panoshapes.batches import CURRICULUM, TILES, VIT_CURRICULUM, Phase, Plan
from fcclip.engine.contrastive.tiles import is_convolutional
from fcclip.engine.contrastive.trainer import ContrastivePlan, ContrastiveTrainer
from fcclip.engine.zero_shot import Accuracy, crop_accuracy, mask_accuracy


@dataclass(frozen=True)
class Recipe:
    """Which model is trained, how long, on what, and with which greatest learning rate.

    Attributes:
        fresh: new scenes per step; rendering them takes about 15 ms each.
        bfloat16: compute in bfloat16.
    """

    model: str
    steps: int
    phases: tuple[Phase, ...]
    learning_rate: float
    fresh: int = 6
    bfloat16: bool = False


RECIPES = {
    "convnext": Recipe("panoshapes_convnext_atto", 4400, CURRICULUM, 2e-3),
    "convnext-tiles": Recipe("panoshapes_convnext_atto", 1500, TILES, 1.5e-3),  # goes on from the one above
    "vit": Recipe("panoshapes_vit", 6000, VIT_CURRICULUM, 1e-3, fresh=3, bfloat16=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/panoshapes_clip"), metavar="FOLDER")
    parser.add_argument("--recipe", default="convnext", choices=RECIPES, help="default: %(default)s")
    parser.add_argument("--start", type=Path, metavar="FILE", help="weights to begin with (default: random ones)")
    parser.add_argument("--steps", type=int, help="instead of the recipe's number")
    parser.add_argument("--seed", type=int, default=0, help="of weights and world (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    recipe = RECIPES[args.recipe]
    data = Plan(args.steps or recipe.steps, args.seed, recipe.phases, recipe.fresh)
    plan = ContrastivePlan(
        recipe.model, data, recipe.learning_rate, start=str(args.start or ""), bfloat16=recipe.bfloat16
    )
    clip = ContrastiveTrainer(plan, args.output).train()
    table = [{"zero-shot accuracy, %": name, **accuracy} for name, accuracy in measure(clip).items()]
    print(tabulate(table, headers="keys", tablefmt="github", floatfmt=".1f"))


def measure(clip: LoadedClip) -> dict[str, Accuracy]:
    """Accuracy on crops and on masks; a ViT takes crops of the size of its training alone, and smaller scenes."""
    crops, scenes = ((64, 96, 128), (192, 256, 384)) if is_convolutional(clip.model) else ((64,), (96, 128, 192))
    accuracy = {f"crops of {side} pixels": crop_accuracy(clip, side) for side in crops}
    return accuracy | {f"true masks in scenes of {side} pixels": mask_accuracy(clip, side) for side in scenes}


if __name__ == "__main__":
    sys.exit(run_tool(main))
