#!/usr/bin/env python3
"""Train a small CLIP of PanoShapes, or go on with it, and tell its zero-shot accuracy. See docs/panoshapes.md."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tabulate import tabulate

from fcclip.clip.loading import LoadedClip
from fcclip.data.panoshapes.batches import CURRICULUM, TILES, Plan
from fcclip.data.panoshapes.traces import TracePhase, TracePlan
from fcclip.engine.contrastive.tiles import is_convolutional
from fcclip.engine.contrastive.trainer import ContrastivePlan, ContrastiveTrainer
from fcclip.engine.errors import run_tool
from fcclip.engine.zero_shot import Accuracy, crop_accuracy, mask_accuracy
from fcclip.zoo import SHIPPED

SHIPPED_FCCLIP = (
    SHIPPED / "panoshapes" / "fcclip_small.safetensors"
)  # with the ConvNeXt CLIP that the recipes before make


@dataclass(frozen=True)
class Recipe:
    """Which model is trained, how long, on what, and with which greatest learning rate.

    Attributes:
        data: the batches of the recipe's number of steps, and of the first seed.
        text_tower: see `ContrastivePlan`.
    """

    model: str
    data: Plan | TracePlan
    learning_rate: float
    text_tower: str = ""


# Objects in the middle of small windows come first, because their steps are cheap. All windows are parts of scenes of
# one size, so that an object has as many patches as in a whole scene. Traces become shorter, until every patch has to
# tell alone what it is part of.
FEW_TRACES = (
    TracePhase(0.4, 80, 24, points=(32,), centred=True),
    TracePhase(0.3, 112, 16, points=(4, 16)),
    TracePhase(0.3, 160, 10),
)
RECIPES = {
    "convnext": Recipe("panoshapes_convnext_atto", Plan(4400, phases=CURRICULUM), 2e-3),
    # Goes on from the one above.
    "convnext-tiles": Recipe("panoshapes_convnext_atto", Plan(1500, phases=TILES), 1.5e-3),
    "vit-few": Recipe("panoshapes_vit", TracePlan(5000, FEW_TRACES), 1.5e-3, str(SHIPPED_FCCLIP)),
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
    data = replace(recipe.data, batches=args.steps or recipe.data.batches, seed=args.seed)
    plan = ContrastivePlan(
        recipe.model, data, recipe.learning_rate, start=str(args.start or ""), text_tower=recipe.text_tower
    )
    clip = ContrastiveTrainer(plan, args.output).train()
    table = [{"zero-shot accuracy, %": name, **accuracy} for name, accuracy in measure(clip).items()]
    print(tabulate(table, headers="keys", tablefmt="github", floatfmt=".1f"))


def measure(clip: LoadedClip) -> dict[str, Accuracy]:
    """Accuracy of a ConvNeXt on crops and masks of all classes, of a ViT on masks of the few classes."""
    if not is_convolutional(clip.model):
        sides = (128, 160, 192)
        return {f"true masks in scenes of {side} pixels": mask_accuracy(clip, side, split="val_few") for side in sides}
    accuracy = {f"crops of {side} pixels": crop_accuracy(clip, side) for side in (64, 96, 128)}
    return accuracy | {f"true masks in scenes of {side} pixels": mask_accuracy(clip, side) for side in (192, 256, 384)}


if __name__ == "__main__":
    sys.exit(run_tool(main))
