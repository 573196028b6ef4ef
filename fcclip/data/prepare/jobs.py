"""Run many small conversions in parallel, skip those already done, and report what was written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from fcclip.files.atomic import atomic_path
from fcclip.files.processes import end_with_parent
from fcclip.files.stamps import STAMP

Job = TypeVar("Job")
Result = TypeVar("Result")

_COARSEST_CLOCK = 2.0  # seconds: how exactly the poorest file system keeps times
_LARGEST_CHUNK = 16  # jobs that travel to a worker together


@dataclass(frozen=True)
class Output:
    """What happened to one output: a file, or a folder of files.

    Attributes:
        path: the file or folder.
        written: files made in this run.
        kept: files that were there, whole, before it.
    """

    path: Path
    written: int
    kept: int


@dataclass(frozen=True)
class Options:
    """What every preparation is told.

    Attributes:
        root: folder of the datasets.
        workers: number of processes; 0 or 1 works in this one.
    """

    root: Path
    workers: int = 0


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], workers: int, description: str, unit: str = "file"
) -> list[Result]:
    """Apply `function` to every job, in order, with a progress bar.

    Args:
        function: a module-level function (or a partial of one): it travels to other processes.
        jobs: its arguments.
        workers: number of processes; 0 or 1 works in this one.
        description: title of the progress bar.
        unit: what a job is.

    Raises:
        Exception: the first one that a job raised; jobs that have not begun are dropped.
    """
    progress = partial(tqdm, total=len(jobs), desc=description, unit=unit, disable=None)
    if workers < 2 or len(jobs) < 2:
        return list(progress(map(function, jobs)))
    chunk = max(1, min(_LARGEST_CHUNK, len(jobs) // (4 * workers)))
    with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
        try:
            return list(progress(pool.map(function, jobs, chunksize=chunk)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def count_outputs(path: Path, written: Iterable[bool]) -> Output:
    """Sum up, for one folder, whether each of its files was written."""
    flags = list(written)
    return Output(path, written=sum(flags), kept=len(flags) - sum(flags))


def copy_file(paths: tuple[Path, Path]) -> bool:
    """Copy (source, target) unless a target of the same size and time is there; whether it was copied."""
    source, target = paths
    if not source.is_file():
        raise FileNotFoundError(f"{source} does not exist; is the download unpacked completely?")
    status = source.stat()
    if target.is_file():
        there = target.stat()
        if there.st_size == status.st_size and abs(there.st_mtime - status.st_mtime) <= _COARSEST_CLOCK:
            return False
    with atomic_path(target) as scratch:
        shutil.copyfile(source, scratch)
        os.utime(scratch, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True


def stamp_of_json(path: Path) -> str:
    """The stamp in "info" of a JSON file that a preparation wrote; "" if the file is missing, damaged or has none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return str(content["info"][STAMP])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def list_files(folder: Path, suffix: str, what: str) -> list[Path]:
    """The files of a folder with a suffix, by name.

    Raises:
        FileNotFoundError: there is no such folder, or no such file in it; `what` tells what should be there.
        ValueError: one of them is a folder or a device.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; expected {what} there (see datasets/README.md)")
    files = sorted(path for path in folder.iterdir() if path.suffix == suffix and not path.name.startswith("."))
    odd = next((path for path in files if not path.is_file()), None)
    if odd is not None:
        raise ValueError(f"{odd} is not a file; expected {what} in {folder}")
    if not files:
        raise FileNotFoundError(f"{folder} has no {suffix} files; expected {what} there (see datasets/README.md)")
    return files
