#!/usr/bin/env python3
"""Score predictions of any model that lie on disk.

Panoptic predictions in the COCO format (PQ, SQ and RQ of all, thing and stuff classes and of each class):

    python tools/evaluate_predictions.py --gt-json panoptic_val2017.json --gt-folder panoptic_val2017 \
        --pred-json predictions.json --pred-folder predictions --output results.json

Instances in COCO's format of results (AP of masks and boxes):

    python tools/evaluate_predictions.py --gt-instances instances_val2017.json --pred-instances predictions.json

Label maps, one integer per pixel (mIoU under both conventions, fwIoU, mACC, pACC and IoU of each class):

    python tools/evaluate_predictions.py --gt-labels annotations --pred-labels predictions --names names.txt \
        --ignore-label 255 --output results.json

Video panoptic predictions in VIPSeg's format (VPQ and STQ, each both as in papers and as in the published scripts):

    python tools/evaluate_predictions.py --video --gt-json panoptic_gt_VIPSeg_val.json --gt-folder panomasksRGB \
        --pred-json pred.json --pred-folder pan_pred --output results.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate

from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.evaluation.files import score_label_folders, score_panoptic_files
from fcclip.evaluation.instance_files import score_instance_files
from fcclip.evaluation.metrics.semantic import CONVENTIONS
from fcclip.evaluation.video_files import MEANINGS, score_video_panoptic_files
from fcclip.files.atomic import write_json
from fcclip.files.places import require_writable_file
from fcclip.vocabulary import read_names

PANOPTIC = ("gt_json", "gt_folder", "pred_json", "pred_folder")
LABELS = ("gt_labels", "pred_labels", "names")
INSTANCES = ("gt_instances", "pred_instances")
GROUPS = ("All", "Things", "Stuff", "segm", "bbox")
KINDS = (PANOPTIC, LABELS, INSTANCES)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = parse(arguments)
    return run_command("evaluate_predictions", lambda: score_and_report(options), options.debug)


def score_and_report(options: argparse.Namespace) -> None:
    if options.output:
        require_writable_file(options.output)
    report = score(options)
    if options.output:
        write_json(options.output, report, indent=2)
    print(table(report))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    panoptic = parser.add_argument_group("panoptic predictions")
    panoptic.add_argument("--gt-json", type=Path, help="ground truth, COCO panoptic JSON")
    panoptic.add_argument("--gt-folder", type=Path, help="its PNGs")
    panoptic.add_argument("--pred-json", type=Path, help="predictions, COCO panoptic JSON")
    panoptic.add_argument("--pred-folder", type=Path, help="their PNGs")
    panoptic.add_argument("--video", action="store_true", help="they are videos, in VIPSeg's format")
    labels = parser.add_argument_group("label maps")
    labels.add_argument("--gt-labels", type=Path, help="folder of ground-truth label maps")
    labels.add_argument("--pred-labels", type=Path, help="folder of predicted label maps with the same names")
    labels.add_argument("--names", type=Path, help='one class per line ("name,synonym"), in the order of labels')
    labels.add_argument("--ignore-label", type=int, default=255, help="label of unknown pixels (default %(default)s)")
    instances = parser.add_argument_group("instances")
    instances.add_argument("--gt-instances", type=Path, help="ground truth, COCO instance JSON")
    instances.add_argument("--pred-instances", type=Path, help="predictions, COCO's format of results")
    parser.add_argument("--output", type=Path, help="results as JSON")
    add_debug_flag(parser)
    parser.add_argument("--threads", type=int, default=4, help="images compared at once (default %(default)s)")
    options = parser.parse_args(arguments)
    given = {name for kind in KINDS for name in kind if getattr(options, name) is not None}
    if given not in map(set, KINDS) or (options.video and given != set(PANOPTIC)):
        wanted = (" ".join("--" + name.replace("_", "-") for name in kind) for kind in KINDS)
        parser.error(f"give either {' or '.join(wanted)}")
    return options


def score(options: argparse.Namespace) -> dict[str, Any]:
    if options.gt_json is not None:
        files = (options.gt_json, options.gt_folder, options.pred_json, options.pred_folder)
        return (score_video_panoptic_files if options.video else score_panoptic_files)(*files, options.threads)
    if options.gt_instances is not None:
        return score_instance_files(options.gt_instances, options.pred_instances)
    file = read_names(options.names)
    file.require_labels()
    names = [category.name for category in file.categories]
    return score_label_folders(options.gt_labels, options.pred_labels, names, options.ignore_label, options.threads)


def table(report: dict[str, Any]) -> str:
    """The averages, for the screen."""
    if "VPQ" in report:
        return _video_table(report)
    groups = {name: values for name, values in report.items() if name in GROUPS}
    rows = [[name, *(_text(value) for value in values.values())] for name, values in groups.items()]
    text = tabulate(rows, headers=["", *next(iter(groups.values()))], disable_numparse=True)
    notes = [f"{metric}: {meaning}" for metric, meaning in CONVENTIONS.items() if metric in report.get("All", ())]
    return "\n".join([f"{report['images']} images", text, *notes])


def _video_table(report: dict[str, Any]) -> str:
    rows = [
        [name, _text(value)]
        for name, value in report.items()
        if name.isupper() or name.startswith(("VPQ", "STQ", "AQ"))
    ]
    notes = [f"{metric}: {meaning}" for metric, meaning in MEANINGS.items()]
    heading = f"{report['videos']} videos, {report['frames']} frames"
    return "\n".join([heading, tabulate(rows, disable_numparse=True), *notes, *report["notes"]])


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
