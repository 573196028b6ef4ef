"""Segment very many images into a target that can be gone on with, in one process or on many machines.

    fcclip predict photos/ --output results/ --vocabulary "cat,kitten; sofa; wall=stuff"
    fcclip predict s3://bucket/images --output s3://bucket/results --vocabulary-file names.txt --engine ray --workers 8

SOURCE is a folder, a glob, a list of paths (.txt), tar files or tables (.parquet), here or at any address that fsspec
knows. The same command again does only what is missing. The exit code is 0, or 1 if an image failed or something else
went wrong. See docs/batch.md.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from fcclip.commands.options import add_computing_options, add_model_options, add_vocabulary_options
from fcclip.engine.errors import run_command
from fcclip.files.schemes import locate_weights
from fcclip.flags import non_negative_number, whole_number
from fcclip.formats.names import FORMATS

PROGRAM = "fcclip predict"
MODULES = ("pyarrow", "fsspec")  # of the extra


def main(argv: Sequence[str] | None = None, prog: str = PROGRAM) -> int:
    """Segment images; returns the exit code."""
    words = parser(prog)
    options = words.parse_args(argv)
    if options.source is None and not (options.merge or options.evaluate):
        words.error("name a SOURCE of images, or say what to do with the results: --merge, --evaluate")
    return run_command(prog, lambda: _run(options), options.debug)


def parser(prog: str) -> argparse.ArgumentParser:
    """The flags."""
    words = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("source", nargs="?", metavar="SOURCE", help="a folder, glob, list, tar files or tables")
    words.add_argument("--output", required=True, metavar="TARGET", help="folder of the results, here or elsewhere")
    add_model_options(words)
    add_vocabulary_options(words)
    add_computing_options(words)
    group = words.add_argument_group("what is written")
    group.add_argument(
        "--format", nargs="+", default=["coco-panoptic"], choices=tuple(FORMATS), metavar="NAME",
        help=f"default: coco-panoptic; any of {', '.join(FORMATS)}",
    )  # fmt: skip
    group.add_argument("--loose", action="store_true", help="PNGs as files of their own, and not in tar files")
    group.add_argument(
        "--shard-size", type=whole_number(1), default=1000, metavar="N", help="images of a shard (default: 1000)"
    )
    group.add_argument(
        "--flush-seconds", type=non_negative_number, default=300, metavar="S",
        help="write what is done at the latest after this time (default: 300)",
    )  # fmt: skip
    group = words.add_argument_group("going on")
    group.add_argument("--retry-failed", action="store_true", help="try again the images that failed")
    group.add_argument("--planned", action="store_true", help="do not look for new images in SOURCE")
    group.add_argument("--merge", action="store_true", help="join the shards to panoptic.json and the folder panoptic")
    group.add_argument("--evaluate", type=Path, metavar="JSON", help="score against COCO panoptic ground truth")
    group.add_argument("--evaluate-folder", type=Path, metavar="FOLDER", help="its PNGs (default: JSON without suffix)")
    group = words.add_argument_group("engine")
    group.add_argument("--engine", choices=("local", "ray"), default="local", help="default: local, one process")
    group.add_argument("--workers", type=whole_number(1), default=1, metavar="N", help="processes of Ray (default: 1)")
    group.add_argument(
        "--address", metavar="ADDRESS", help="of a Ray cluster: auto, or ray://HOST:10001; else one is started"
    )
    group.add_argument(
        "--gpus-per-worker", type=non_negative_number, default=None, metavar="N", help="default: 1 where there are GPUs"
    )
    group.add_argument(
        "--readers", type=whole_number(1), default=4, metavar="N", help="images read at a time, per process"
    )
    return words


def _run(options: argparse.Namespace) -> int:
    needed = [*MODULES, *(["ray"] if options.engine == "ray" else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f'{" and ".join(missing)} is missing; install it with: pip install "fcclip[batch]"')
    failed = _predict(options) if options.source is not None else False
    from fcclip.batch.merge import evaluate, merge
    from fcclip.batch.store import Store

    store = Store(options.output)
    if options.merge:
        print(f"joined: {merge(store)}")
    if options.evaluate is not None:
        folder = options.evaluate_folder or options.evaluate.with_suffix("")
        report = evaluate(store, options.evaluate, folder)
        store.write_json("evaluation.json", report)
        print(_table(report))
    return int(failed)


def _predict(options: argparse.Namespace) -> bool:
    """Segment what is missing; whether an image has failed, now or before."""
    from fcclip.batch.job import Job, run_local  # which take PyTorch's time
    from fcclip.batch.worker import Settings
    from fcclip.batch.writing import Output
    from fcclip.commands.choices import add_lists, read_model_config, read_vocabulary

    chosen = read_vocabulary(options)
    cfg = read_model_config(options)
    if cfg.MODEL.WEIGHTS:
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.WEIGHTS = str(locate_weights(cfg.MODEL.WEIGHTS))
        cfg.freeze()
    vocabulary = add_lists(chosen, options, cfg)
    print(vocabulary.describe())
    settings = Settings(
        options.output,
        Output(tuple(dict.fromkeys(options.format)), options.loose),
        options.shard_size,
        options.confidence_threshold,
        options.batch_size,
        options.readers,
        options.flush_seconds,
        options.retry_failed,
    )
    job = Job(options.source, cfg, vocabulary, settings, not options.planned)
    if options.engine == "ray":
        from fcclip.batch.cluster import Cluster

        manifest = job.run(Cluster(options.workers, options.address, options.gpus_per_worker).run)
    else:
        manifest = job.run(run_local)
    print(", ".join(f"{name}: {manifest[name]}" for name in ("total", "done", "failed", "skipped")))
    return bool(manifest["failed"] or manifest["skipped"])


def _table(report: dict[str, Any]) -> str:
    """Panoptic quality of all, thing and stuff classes."""
    rows = [[group, *report[group].values()] for group in ("All", "Things", "Stuff")]
    return tabulate(rows, headers=["", *report["All"]], floatfmt=".3f", missingval="-")
