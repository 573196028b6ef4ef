"""Public datasets by name: python -m fcclip data get NAME... | python -m fcclip data --list

Fetches a dataset from its owners, unpacks it into the layout of datasets/README.md, prepares it and checks it. What is
there already is kept, so that an interrupted run may be repeated. For Cityscapes, Mapillary Vistas and the full ADE20K,
which need a login, it says where to click and what to put where, and does the rest once that is done.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from tabulate import tabulate

from fcclip.data.public_datasets import PublicDataset, public_datasets
from fcclip.engine.errors import add_debug_flag, run_command
from fcclip.files.transfer import readable_size
from fcclip.flags import add_workers_flag


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 1 if a dataset is not ready in the end."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.list or options.action is None:
        print(listing())
        return 0
    if not options.names:
        parser.error("give the NAME of a dataset; --list names them")
    unknown = [name for name in options.names if name not in public_datasets()]
    if unknown:
        parser.error(f"there is no dataset {', '.join(unknown)}; choose from {', '.join(public_datasets())}")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    return run_command("fcclip data", lambda: _get_all(options), options.debug)


def listing() -> str:
    """A table of all datasets: name, size of the download, licence, page."""
    rows = [
        (dataset.name, dataset.title, _total(dataset), dataset.licence, dataset.page)
        for dataset in public_datasets().values()
    ]
    return tabulate(rows, headers=("name", "dataset", "download", "licence", "page"), tablefmt="simple")


def _get_all(options: argparse.Namespace) -> int:
    from fcclip.data.datasets.registry import dataset_root  # which takes PyTorch's time

    root = (options.root or dataset_root()).expanduser()
    os.environ["DETECTRON2_DATASETS"] = str(root)  # the check looks there
    return max(_get(public_datasets()[name], root, options) for name in options.names)


def _get(dataset: PublicDataset, root: Path, options: argparse.Namespace) -> int:
    from fcclip.data.get import delete_unpacked, fetch_and_unpack, is_placed, missing_archives, prepare
    from fcclip.data.prepare.cli import summary
    from fcclip.data.prepare.jobs import Options
    from fcclip.data.validation.report import check_dataset

    training = options.split == "all"
    print(f"\n{dataset.name}: {dataset.title}\nlicence: {dataset.licence}\npage: {dataset.page}\nfolder: {root}")
    if dataset.by_hand and not is_placed(dataset, root):
        steps = enumerate((step.format(root=root) for step in dataset.by_hand), start=1)
        print("It needs a login, so that only you can fetch it:")
        print("\n".join(f"  {number}. {step}" for number, step in steps))
        print(f"  {len(dataset.by_hand) + 1}. python -m fcclip data get {dataset.name} --root {root}")
        return 1
    missing = missing_archives(dataset, root, training)
    rows = [(archive.name, _size(archive.about), archive.sources[0].url) for archive in missing]
    print(tabulate(rows, headers=("to be fetched", "size", "from"), tablefmt="simple") if rows else "nothing to fetch")
    if options.dry_run:
        return 0
    delete_unpacked(dataset.archives, root)
    fetch_and_unpack(missing, root, options.keep_archives)
    outputs = prepare(dataset, Options(root, options.workers))
    if outputs:
        print(summary(outputs))
    names = [*dataset.check["val"], *(dataset.check["train"] if training else ())]
    reports = [check_dataset(name, workers=options.workers) for name in names]
    print("\n\n".join(report.table() for report in reports))
    problems = any(report.problems for report in reports)
    print(f"\n{dataset.name} {'is not whole, see above' if problems else 'is ready'}: DETECTRON2_DATASETS={root}")
    return int(problems)


def _size(size: int | None) -> str:
    return readable_size(size) if size else "unknown"


def _total(dataset: PublicDataset) -> str:
    if dataset.by_hand:
        return "needs a login"
    return readable_size(sum(archive.about or 0 for archive in dataset.archives))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fcclip data", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", choices=("get",), help="fetch, unpack, prepare and check datasets")
    parser.add_argument("names", nargs="*", metavar="NAME", help="datasets, such as ade20k")
    parser.add_argument("--list", action="store_true", help="list the datasets with size and licence, and exit")
    parser.add_argument("--root", type=Path, help="folder of the datasets (default: $DETECTRON2_DATASETS, or datasets)")
    parser.add_argument(
        "--split",
        choices=("all", "val"),
        default="all",
        help="val: leave out images that only training needs (18 GB of COCO), and check the validation sets only",
    )
    parser.add_argument("--keep-archives", action="store_true", help="do not delete archives that are unpacked")
    add_workers_flag(parser)
    parser.add_argument("--dry-run", action="store_true", help="tell what would be fetched, and exit")
    add_debug_flag(parser)
    return parser
