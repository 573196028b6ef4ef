#!/usr/bin/env python3
"""What each classifier of FC-CLIP small is worth on seen and unseen classes, as a table. See docs/panoshapes.md."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tabulate import tabulate

from fcclip.config import get_cfg
from fcclip.evaluation.loop import evaluate
from fcclip.evaluation.semantic_metrics import harmonic_mean
from fcclip.pretrained import find_pretrained
from fcclip.weights import load_weights

SINGLE = ((0.0, 0.0), (1.0, 1.0))  # in-vocabulary only, out-of-vocabulary only
GRID = tuple((alpha, beta) for alpha in (0.0, 0.2, 0.4, 0.6) for beta in (0.6, 0.8, 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="panoshapes", help="name, checkpoint or folder (default: %(default)s)")
    parser.add_argument("--dataset", default="panoshapes_val_all_panoptic", help="default: %(default)s")
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="shorter sides to compare at alpha, beta")
    parser.add_argument("--output", type=Path, default=Path("output/panoshapes_claims"), metavar="FOLDER")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys, at the end")
    args = parser.parse_args()
    found = find_pretrained(args.model)
    cfg = get_cfg()
    cfg.merge_from_file(str(found.config))
    cfg.merge_from_list(["MODEL.WEIGHTS", str(found.weights), "TEST.PLOTS", False, "TEST.RESUME", False, *args.opts])
    model: Any = build_model(cfg)
    load_weights(model, found.weights)
    node = cfg.MODEL.FC_CLIP
    rows = []
    for alpha, beta in (*SINGLE, *GRID):
        model.geometric_ensemble_alpha, model.geometric_ensemble_beta = alpha, beta
        rows.append({"alpha": alpha, "beta": beta, "side": cfg.INPUT.MIN_SIZE_TEST, **measure(model, cfg, args)})
        print(tabulate(rows[-1:], headers="keys", tablefmt="github", floatfmt=".1f"), flush=True)
    alpha, beta = node.GEOMETRIC_ENSEMBLE_ALPHA, node.GEOMETRIC_ENSEMBLE_BETA
    model.geometric_ensemble_alpha, model.geometric_ensemble_beta = alpha, beta
    for side in args.sizes:
        cfg.INPUT.MIN_SIZE_TEST = side
        rows.append({"alpha": alpha, "beta": beta, "side": side, **measure(model, cfg, args)})
    table = tabulate(rows, headers="keys", tablefmt="github", floatfmt=".1f")
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "table.md").write_text(table + "\n", encoding="utf-8")
    print(table)


def measure(model: Any, cfg: CfgNode, args: argparse.Namespace) -> dict[str, float]:
    """PQ, AP and mIoU, of seen and unseen classes where the metric tells them apart, and the harmonic mean of PQ."""
    results = evaluate(model, cfg, args.dataset, args.output / "inference")
    panoptic, semantic = results["panoptic_seg"], results.get("sem_seg", {})
    return {
        "PQ": panoptic["PQ"],
        "PQ seen": panoptic["PQ_seen"],
        "PQ unseen": panoptic["PQ_unseen"],
        "PQ harmonic": harmonic_mean(panoptic["PQ_seen"], panoptic["PQ_unseen"]),
        "AP": results.get("segm", {}).get("AP", float("nan")),
        "mIoU seen": semantic.get("mIoU_seen", float("nan")),
        "mIoU unseen": semantic.get("mIoU_unseen", float("nan")),
    }


if __name__ == "__main__":
    main()
