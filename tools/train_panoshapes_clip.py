#!/usr/bin/env python3
"""Train the small CLIP of PanoShapes, or go on with it, and tell its zero-shot accuracy. See docs/panoshapes.md."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch
from tabulate import tabulate

from fcclip.data.panoshapes.batches import Plan
from fcclip.engine.contrastive import ContrastivePlan, ContrastiveTrainer
from fcclip.engine.zero_shot import crop_accuracy, mask_accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/panoshapes_clip"), metavar="FOLDER")
    parser.add_argument("--model", default="panoshapes_convnext_atto", help="name or description (.json)")
    parser.add_argument("--steps", type=int, default=4400, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of weights and world (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    clip = ContrastiveTrainer(ContrastivePlan(args.model, Plan(args.steps, args.seed)), args.output).train()
    rows = {f"crops of {side} pixels": crop_accuracy(clip, side) for side in (64, 96, 128)}
    rows |= {f"true masks in scenes of {side} pixels": mask_accuracy(clip, side) for side in (192, 256, 384)}
    table = [{"zero-shot accuracy, %": name, **accuracy} for name, accuracy in rows.items()]
    print(tabulate(table, headers="keys", tablefmt="github", floatfmt=".1f"))


if __name__ == "__main__":
    main()
