#!/usr/bin/env python3
"""Train the small CLIP of PanoShapes, or go on with it. See docs/panoshapes.md."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from fcclip.engine.contrastive import ContrastivePlan, ContrastiveTrainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/panoshapes_clip"), metavar="FOLDER")
    parser.add_argument(
        "--model", default="panoshapes_convnext_atto", help="open_clip's name, or a description (.json)"
    )
    parser.add_argument("--steps", type=int, default=4000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of weights and world (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(args.threads)
    ContrastiveTrainer(ContrastivePlan(args.model, args.steps, seed=args.seed), args.output).train()


if __name__ == "__main__":
    main()
