"""Score predictions of any model that lie on disk.

Panoptic predictions in the COCO format (PQ, SQ and RQ of all, thing and stuff classes and of each class):

    python tools/evaluate_predictions.py --gt-json panoptic_val2017.json --gt-folder panoptic_val2017 \
        --pred-json predictions.json --pred-folder predictions --output results.json

Label maps, one integer a pixel (mIoU under both conventions, fwIoU, mACC, pACC and IoU of each class):

    python tools/evaluate_predictions.py --gt-labels annotations --pred-labels predictions --names names.txt \
        --ignore-label 255 --output results.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate

from fcclip.evaluation.files import score_label_folders, score_panoptic_files
from fcclip.evaluation.metrics.semantic import CONVENTIONS
from fcclip.files.atomic import write_json
from fcclip.vocabulary import Vocabulary

PANOPTIC = ("gt_json", "gt_folder", "pred_json", "pred_folder")
LABELS = ("gt_labels", "pred_labels", "names")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parse(arguments)
    try:
        report = score(options)
        if options.output:
            write_json(options.output, report, indent=2)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(report))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    panoptic = parser.add_argument_group("panoptic predictions")
    panoptic.add_argument("--gt-json", type=Path, help="ground truth, COCO panoptic JSON")
    panoptic.add_argument("--gt-folder", type=Path, help="its PNGs")
    panoptic.add_argument("--pred-json", type=Path, help="predictions, COCO panoptic JSON")
    panoptic.add_argument("--pred-folder", type=Path, help="their PNGs")
    labels = parser.add_argument_group("label maps")
    labels.add_argument("--gt-labels", type=Path, help="folder of ground-truth label maps")
    labels.add_argument("--pred-labels", type=Path, help="folder of predicted label maps with the same names")
    labels.add_argument("--names", type=Path, help='file with a class a line ("name,synonym"), in the order of labels')
    labels.add_argument("--ignore-label", type=int, default=255, help="label of unknown pixels (default %(default)s)")
    parser.add_argument("--output", type=Path, help="results as JSON")
    parser.add_argument("--threads", type=int, default=4, help="images compared at once (default %(default)s)")
    options = parser.parse_args(arguments)
    given = {name for name in PANOPTIC + LABELS if getattr(options, name) is not None}
    if given not in (set(PANOPTIC), set(LABELS)):
        wanted = (" ".join("--" + name.replace("_", "-") for name in group) for group in (PANOPTIC, LABELS))
        parser.error(f"give either {' or '.join(wanted)}")
    return options


def score(options: argparse.Namespace) -> dict[str, Any]:
    if options.gt_json is not None:
        return score_panoptic_files(
            options.gt_json, options.gt_folder, options.pred_json, options.pred_folder, options.threads
        )
    names = [category.name for category in Vocabulary.from_file(options.names).categories]
    return score_label_folders(options.gt_labels, options.pred_labels, names, options.ignore_label, options.threads)


def table(report: dict[str, Any]) -> str:
    """The averages, for the screen."""
    groups = {name: values for name, values in report.items() if name in ("All", "Things", "Stuff")}
    rows = [[name, *(_text(value) for value in values.values())] for name, values in groups.items()]
    text = tabulate(rows, headers=["", *report["All"]], disable_numparse=True)
    notes = [f"{metric}: {meaning}" for metric, meaning in CONVENTIONS.items() if metric in report["All"]]
    return "\n".join([f"{report['images']} images", text, *notes])


def _text(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
