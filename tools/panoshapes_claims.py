#!/usr/bin/env python3
"""Measure on PanoShapes what FC-CLIP claims, as tables. See docs/panoshapes.md.

    python tools/panoshapes_claims.py --models output/panoshapes_fcclip_{1,2,3}/model_final.pth

Several models, trained alike with other seeds, give mean and deviation of the classifiers; the other tables are of the
first one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import fcclip  # isort: skip # noqa: F401, before Detectron2, whose warnings it silences
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from tabulate import tabulate

from fcclip.config import load_inference_cfg
from fcclip.data.mappers import InferenceMapper
from fcclip.data.panoshapes.classes import CLASSES, group_of
from fcclip.engine.errors import run_tool
from fcclip.evaluation.loop import evaluate
from fcclip.evaluation.metrics.semantic import harmonic_mean
from fcclip.evaluation.report.repeats import mean_and_deviation
from fcclip.weights import load_weights
from fcclip.zoo import find_pretrained

ALPHAS = (0.0, 0.2, 0.4, 0.6)
BETAS = (0.4, 0.6, 0.8, 1.0)
SIZES = (192, 256, 320, 384)
CLIP_TRUST = (0.0, 0.25, 0.5, 0.75)
TIMED_IMAGES = 20
Values = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """A model, how its classifiers are joined, the side of test images (0: as configured), and COAT's weight."""

    model: str
    alpha: float
    beta: float
    side: int = 0
    architecture: str = "FCCLIP"
    clip_trust: float = 0.0


class Bench:
    """Measures settings; models are built once."""

    def __init__(self, dataset: str, output: Path, opts: Sequence[str]) -> None:
        self.dataset = dataset
        self.output = output
        self.opts = list(opts)
        self._built: dict[tuple[str, str], tuple[Any, CfgNode]] = {}

    def exponents(self, model: str) -> dict[str, tuple[float, float]]:
        """α and β of each classifier alone and, as the model's configuration has them, of both together."""
        node = self.build(Setting(model, 0, 0))[1].MODEL.FC_CLIP
        ensemble = (node.GEOMETRIC_ENSEMBLE_ALPHA, node.GEOMETRIC_ENSEMBLE_BETA)
        return {"in-vocabulary": (0.0, 0.0), "out-of-vocabulary": (1.0, 1.0), "ensemble": ensemble}

    def build(self, setting: Setting, panoptic_only: bool = False) -> tuple[Any, CfgNode]:
        """The model of a setting, with its exponents and the results that it is to give, and its configuration."""
        key = (setting.model, setting.architecture)
        if key not in self._built:
            self._built[key] = load(*key, self.opts)
        model, cfg = self._built[key]
        model.geometric_ensemble_alpha, model.geometric_ensemble_beta = setting.alpha, setting.beta
        model.clip_trust_weight = setting.clip_trust
        model.semantic_on = model.instance_on = not panoptic_only
        cfg = cfg.clone()
        cfg.defrost()
        test = cfg.MODEL.MASK_FORMER.TEST
        test.SEMANTIC_ON = test.INSTANCE_ON = not panoptic_only
        cfg.INPUT.MIN_SIZE_TEST = setting.side or cfg.INPUT.MIN_SIZE_TEST
        return model, cfg

    def measure(self, setting: Setting, panoptic_only: bool = False) -> Values:
        """PQ of all, seen and unseen classes and the harmonic mean of these two; unless `panoptic_only`, also PQ of
        groups, AP and mIoU.
        """
        model, cfg = self.build(setting, panoptic_only)
        results = evaluate(model, cfg, self.dataset, self.output / "inference")
        panoptic = results["panoptic_seg"]
        values = {
            "PQ": panoptic["PQ"],
            "PQ seen": panoptic["PQ_seen"],
            "PQ unseen": panoptic["PQ_unseen"],
            "harmonic": harmonic_mean(panoptic["PQ_seen"], panoptic["PQ_unseen"]),
        }
        if panoptic_only:
            return values
        semantic = {name.replace("_", " "): results["sem_seg"][name] for name in ("mIoU", "mIoU_seen", "mIoU_unseen")}
        return values | by_group(panoptic) | average_precision(results["segm"]) | semantic

    def seconds(self, settings: Sequence[Setting]) -> list[float]:
        """Median time of an image, the settings taking turns."""
        records = DatasetCatalog.get(self.dataset)[: TIMED_IMAGES + 1]
        times: list[list[float]] = [[] for _ in settings]
        for record in records:
            for spent, setting in zip(times, settings, strict=True):
                model, cfg = self.build(setting)
                model.eval()
                sample = InferenceMapper(cfg)(record)
                start = time.perf_counter()
                model([sample])
                spent.append(time.perf_counter() - start)
        return [median(spent[1:]) for spent in times]


def load(model: str, architecture: str, opts: Sequence[str]) -> tuple[Any, CfgNode]:
    found = find_pretrained(model)
    fixed = ("MODEL.META_ARCHITECTURE", architecture, "TEST.PLOTS", "False", "TEST.RESUME", "False")
    cfg = load_inference_cfg(found.config, [*fixed, *opts], found.weights)
    built: Any = build_model(cfg)
    load_weights(built, found.weights)
    return built, cfg


def average_precision(instances: Values) -> Values:
    """AP of all things, of seen and of unseen ones."""
    kinds = {
        kind: [instances[f"AP-{entry.name}"] for entry in CLASSES if entry.is_thing and entry.seen is seen]
        for kind, seen in (("AP seen", True), ("AP unseen", False))
    }
    return {"AP": instances["AP"]} | {kind: float(np.nanmean(values)) for kind, values in kinds.items()}


def by_group(panoptic: Values) -> Values:
    """PQ of each group of classes, see `group_of`; classes that do not occur are left out."""
    found: dict[str, list[float]] = {}
    for entry in CLASSES:
        value = panoptic.get(f"PQ-{entry.name}", float("nan"))
        if not np.isnan(value):
            found.setdefault(group_of(entry), []).append(value)
    return {group: mean(values) for group, values in sorted(found.items())}


def classifiers(bench: Bench, models: Sequence[str]) -> str:
    """Each classifier alone and both together, for all models."""
    rows = []
    for name, (alpha, beta) in bench.exponents(models[0]).items():
        values = [bench.measure(Setting(model, alpha, beta)) for model in models]
        rows.append({"classifier": name, "α": alpha, "β": beta, **summary(values)})
    return render(rows)


def grid(bench: Bench, models: Sequence[str]) -> str:
    """PQ of seen and unseen classes and their harmonic mean over α and β."""
    rows = []
    for alpha in ALPHAS:
        row: dict[str, Any] = {"α \\ β": alpha}
        for beta in BETAS:
            values = bench.measure(Setting(models[0], alpha, beta), panoptic_only=True)
            row[f"{beta}"] = f"{values['PQ seen']:.1f} / {values['PQ unseen']:.1f} / {values['harmonic']:.1f}"
        rows.append(row)
    return render(rows)


def coat(bench: Bench, models: Sequence[str]) -> str:
    """Void that is less likely where CLIP is sure of a class, for all models."""
    rows = []
    alpha, beta = bench.exponents(models[0])["ensemble"]
    for weight in CLIP_TRUST:
        values = [bench.measure(Setting(model, alpha, beta, clip_trust=weight)) for model in models]
        rows.append({"COAT": f"λ = {weight}", **summary(values)})
    return render(rows)


def sizes(bench: Bench, models: Sequence[str]) -> str:
    """Each classifier and the ensemble at several test resolutions."""
    rows = []
    for side in SIZES:
        row: dict[str, Any] = {"side": side}
        for name, (alpha, beta) in bench.exponents(models[0]).items():
            values = bench.measure(Setting(models[0], alpha, beta, side), panoptic_only=True)
            row |= {f"{name}: seen": values["PQ seen"], f"{name}: unseen": values["PQ unseen"]}
        rows.append(row)
    return render(rows)


def two_stage(bench: Bench, models: Sequence[str]) -> str:
    """CLIP once for the image against CLIP on a crop of every mask."""
    ensemble = Setting(models[0], *bench.exponents(models[0])["ensemble"])
    rivals = {"single stage": ensemble, "two stages": replace(ensemble, architecture="TwoStage")}
    seconds = bench.seconds(list(rivals.values()))
    rows = []
    for (name, setting), spent in zip(rivals.items(), seconds, strict=True):
        alone = bench.measure(replace(setting, alpha=1.0, beta=1.0), panoptic_only=True)
        together = bench.measure(setting, panoptic_only=True)
        rows.append(
            {
                "model": name,
                "ms per image": round(1000 * spent),
                "ratio": spent / seconds[0],
                **{f"CLIP alone: {key}": alone[key] for key in ("PQ seen", "PQ unseen")},
                **{f"ensemble: {key}": together[key] for key in ("PQ seen", "PQ unseen", "harmonic")},
            }
        )
    return render(rows)


def summary(found: Sequence[Values]) -> dict[str, str]:
    """Mean, and the deviation where there are several."""
    columns = {key: [values[key] for values in found] for key in found[0]}
    return {key: mean_and_deviation(values) for key, values in columns.items()}


def render(rows: Sequence[dict[str, Any]]) -> str:
    return tabulate(rows, headers="keys", tablefmt="github", floatfmt=".1f")


PARTS: dict[str, Callable[[Bench, Sequence[str]], str]] = {
    "classifiers": classifiers,
    "two_stage": two_stage,
    "sizes": sizes,
    "grid": grid,
    "coat": coat,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["panoshapes"], metavar="MODEL", help="names, files or folders")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="tables (default: all)")
    parser.add_argument("--dataset", default="panoshapes_val_all_panoptic", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("output/panoshapes_claims"), metavar="FOLDER")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="come last")
    args = parser.parse_args()
    bench = Bench(args.dataset, args.output, args.opts)
    args.output.mkdir(parents=True, exist_ok=True)
    for part in args.parts:
        table = PARTS[part](bench, args.models)
        (args.output / f"{part}.md").write_text(table + "\n", encoding="utf-8")
        print(f"{part}\n\n{table}\n", flush=True)


if __name__ == "__main__":
    sys.exit(run_tool(main))
