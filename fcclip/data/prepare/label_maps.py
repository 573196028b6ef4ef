"""Renumber and write label maps: images with one channel whose value is a class id."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fcclip.data.prepare.jobs import Options, Output, count_outputs, list_files, run_jobs
from fcclip.files.atomic import atomic_path
from fcclip.files.images import read_label_map
from fcclip.files.stamps import is_current, save_stamped, stamp_of


def lookup_table(mapping: Mapping[int, int], ignore: int, size: int = 256) -> np.ndarray:
    """An array whose entry `old` is `mapping[old]`, or `ignore` where there is none.

    Returns:
        (size,) uint8, or uint16 if a value needs it.
    """
    largest = max(ignore, *mapping.values())
    table = np.full(size, ignore, dtype=np.uint8 if largest < 256 else np.uint16)
    for old, new in mapping.items():
        table[old] = new
    return table


def read_pixels(path: Path, mode: str | None = None) -> np.ndarray:
    """Read an image as it is stored, (H, W) or (H, W, channels), or converted to a mode of Pillow such as "RGB".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; is the download unpacked completely?")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error


def write_label_map(path: Path, labels: np.ndarray, stamp: str = "") -> None:
    """Write an (H, W) uint8 or uint16 label map, losslessly and atomically, in the format of the suffix.

    `stamp` says what it was made from (see `fcclip.files.stamps`).
    """
    with atomic_path(path) as scratch:
        save_stamped(Image.fromarray(labels), scratch, stamp)


def renumber(labels: np.ndarray, table: np.ndarray, source: Path) -> np.ndarray:
    """Look every label up in `table`; `source` is the file to name when one is outside it."""
    if labels.size and not 0 <= labels.min() <= labels.max() < len(table):
        wrong = labels.max() if labels.max() >= len(table) else labels.min()
        raise ValueError(f"{source} has label {wrong}; labels of this dataset lie in 0..{len(table) - 1}")
    return table[labels]


def convert_label_map(paths: tuple[Path, Path], table: np.ndarray) -> bool:
    """Renumber the label map (source, target) unless the target was made of the same; whether it was written."""
    source, target = paths
    stamp = stamp_of([source], table.tobytes())
    if is_current(target, stamp):
        return False
    write_label_map(target, renumber(read_label_map(source), table, source), stamp)
    return True


def convert_folder(source: Path, target: Path, table: np.ndarray, options: Options, what: str) -> Output:
    """Renumber every PNG label map of a folder.

    Raises:
        ValueError: both folders are the same, or a label map cannot be renumbered.
    """
    if source.resolve() == target.resolve():
        raise ValueError(
            f"the label maps in {source} would be overwritten by their conversion; write to another folder"
        )
    jobs = [(path, target / path.name) for path in list_files(source, ".png", what)]
    written = run_jobs(partial(convert_label_map, table=table), jobs, options.workers, _title(target, options.root))
    return count_outputs(target, written)


def _title(folder: Path, root: Path) -> str:
    return str(folder.relative_to(root)) if folder.is_relative_to(root) else str(folder)
