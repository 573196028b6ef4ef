#!/usr/bin/env python3
"""What a Mask-Adapter brings to the small FC-CLIP: trains it with several seeds, writes tables. See docs/family.md.

Interrupted, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcclip.engine.errors import run_tool
from fcclip.files.atomic import write_json, write_text
from fcclip.zoo import find_pretrained

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from tools.panoshapes_claims import Bench, Setting, Values, render, summary  # noqa: E402, after the path is known
from tools.panoshapes_zero_shot import start  # noqa: E402

BASE = "panoshapes"  # the model that the adapter is put into
PHASES = {"true masks": "mask_adapter_phase1", "mixed masks": "mask_adapter_phase2"}
MEAN = "mean over the mask"
FCCLIP_EXPONENTS = (0.4, 0.8)
# α and β, and what is compared with them: CLIP alone, as published with FC-CLIP, and as published with Mask-Adapter.
COMPARED = {(1.0, 1.0): (MEAN, *PHASES), FCCLIP_EXPONENTS: (MEAN, *PHASES), (0.7, 0.9): (MEAN, "mixed masks")}
CLIP_TRUST = (0.0, 0.25, 0.5)
OVERALL = ("PQ", "PQ seen", "PQ unseen", "mIoU", "mIoU seen", "mIoU unseen", "AP", "AP seen", "AP unseen")
GROUPS = ("seen thing", "seen stuff", "unseen pair", "unseen shape", "unseen stuff")


class Record:
    """Measures settings of models, and remembers what it has measured in a file.

    Args:
        bench: measures.
        folder: where the file goes; models in it are known by their paths in it.
    """

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench, self._folder = bench, folder
        self._file = folder / "measured.json"
        self._known: dict[str, Values] = json.loads(self._file.read_text("utf-8")) if self._file.is_file() else {}

    def values(self, model: str, alpha: float, beta: float, clip_trust: float = 0.0) -> Values:
        """What `Bench.measure` finds of a model: a name, or a path in the folder."""
        key = f"{model} α {alpha} β {beta} COAT {clip_trust}"
        if key not in self._known:
            path = self._folder / model
            place = str(path) if path.is_file() else model
            self._known[key] = self._bench.measure(Setting(place, alpha, beta, clip_trust=clip_trust))
            write_json(self._file, self._known, indent=1)
        return self._known[key]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="default: %(default)s")
    parser.add_argument("--dataset", default="panoshapes_val_all_panoptic", help="default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("output/panoshapes_mask_adapter"), metavar="FOLDER")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="configuration keys, at the end")
    args = parser.parse_args()
    models = train(args.seeds, args.output, args.opts)
    record = Record(Bench(args.dataset, args.output, []), args.output)
    for name, table in tables(record, models).items():
        text = render(table)
        write_text(args.output / f"{name}.md", text + "\n")
        print(f"{name}\n\n{text}\n", flush=True)


def train(seeds: Sequence[int], output: Path, opts: Sequence[str]) -> dict[str, list[str]]:
    """Train both phases with each seed, unless that is done: the checkpoints of each phase, below `output`."""
    shipped = str(find_pretrained(BASE).weights)
    found: dict[str, list[str]] = {phase: [] for phase in PHASES}
    for seed in seeds:
        weights = shipped
        for phase, config in PHASES.items():
            checkpoint = Path(config) / str(seed) / "model_final.pth"
            options = ["SEED", str(seed), "OUTPUT_DIR", str((output / checkpoint).parent), "DATASETS.TEST", "()"]
            options += ["MODEL.WEIGHTS", weights, "MODEL.FC_CLIP.CLIP_PRETRAINED_WEIGHTS", shipped]
            if not (output / checkpoint).is_file():
                start(REPOSITORY / "configs" / "panoshapes" / f"{config}.yaml", "--resume", [*options, *opts])
            weights = str(output / checkpoint)
            found[phase].append(str(checkpoint))
    return found


def tables(record: Record, models: dict[str, list[str]]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the tables: the mean over masks and the adapter of each phase, all and by group, and COAT on the last."""
    models = {MEAN: [BASE], **models}
    overall, groups = [], []
    for (alpha, beta), poolings in COMPARED.items():
        for name in poolings:
            row = {"α, β": f"{alpha}, {beta}", "pooling": name}
            found = summary([record.values(path, alpha, beta) for path in models[name]])
            overall.append(row | {column: found[column] for column in OVERALL})
            groups.append(row | {column: found[column] for column in GROUPS})
    coat = []
    for weight in CLIP_TRUST:
        found = summary([record.values(path, *FCCLIP_EXPONENTS, weight) for path in models["mixed masks"]])
        coat.append({"COAT": f"λ = {weight}", **{column: found[column] for column in OVERALL}})
    return {"all": overall, "groups": groups, "coat": coat}


if __name__ == "__main__":
    sys.exit(run_tool(main))
