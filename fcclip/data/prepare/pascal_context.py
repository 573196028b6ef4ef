"""PASCAL Context on the images of VOC 2010: 59 frequent classes (8-bit) or all 459 (16-bit).

The 59 classes carry the same ids as among the 459, so that the LabelMap files of the full set give both. The published
preparation reads the 59 classes through the PASCAL in Detail package instead; where that and its JSON file are at hand,
it can be used here too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from fcclip.data.prepare.jobs import Options, Output, copy_file, count_outputs, list_files, run_jobs
from fcclip.data.prepare.label_maps import lookup_table, renumber, write_label_map
from fcclip.data.prepare.pascal_voc import FOLDERS, read_list
from fcclip.files.stamps import is_current, stamp_of

IGNORE_59, IGNORE_459 = 255, 65535
SOURCES = ("auto", "mat", "detail")
# Ids of the 59 classes, in their order, among the 459 (0 is "none of them").
IDS_59 = (
    *(2, 9, 18, 19, 22, 23, 25, 31, 33, 34, 44, 45, 46, 59, 65, 68, 72, 80, 85, 98),
    *(104, 105, 113, 115, 144, 158, 159, 162, 187, 189, 207, 220, 232, 258, 259, 260, 284, 295, 296, 308),
    *(324, 326, 347, 349, 354, 355, 360, 366, 368, 397, 415, 416, 420, 424, 427, 440, 445, 454, 458),
)
_LABELS = 460


def prepare_59(options: Options, labels: str = "auto") -> list[Output]:
    """VOCdevkit/VOC2010 -> pascal_ctx_d2/images and annotations_ctx59 (0..58, 255 = none of the classes).

    Args:
        options: where, and with how many processes.
        labels: "mat" reads trainval/*.mat, "detail" trainval_merged.json with the package `detail`, "auto" the latter
            where both are there.
    """
    source = _voc_2010(options.root)
    if labels == "detail" or (labels == "auto" and _has_detail(source)):
        return _prepare_with_detail(source, options)
    table = lookup_table({id_: index for index, id_ in enumerate(IDS_59)}, IGNORE_59, _LABELS)
    splits = {split: read_list(source / f"ImageSets/Main/{split}.txt") for split in FOLDERS}
    return _copy_images(source, splits, options) + _convert_mats(source, splits, options, table, "ctx59", ".png")


def prepare_459(options: Options) -> list[Output]:
    """VOCdevkit/VOC2010 -> pascal_ctx_d2/images and annotations_ctx459 (0..458 in 16 bits, 65535 = no class).

    The images that are in pascal_ctx_d2/images already (of the set with 59 classes) are the ones used; without any,
    the lists of VOC 2010.
    """
    source = _voc_2010(options.root)
    table = lookup_table({label: label - 1 for label in range(1, _LABELS)}, IGNORE_459, _LABELS)
    splits = {split: _stems(source, options.root, split) for split in FOLDERS}
    return _copy_images(source, splits, options) + _convert_mats(source, splits, options, table, "ctx459", ".tif")


def _voc_2010(root: Path) -> Path:
    return root / "VOCdevkit/VOC2010"


def _output(root: Path, kind: str, split: str) -> Path:
    return root / "pascal_ctx_d2" / kind / FOLDERS[split]


def _stems(source: Path, root: Path, split: str) -> list[str]:
    folder = _output(root, "images", split)
    if folder.is_dir() and any(folder.glob("*.jpg")):
        return [path.stem for path in list_files(folder, ".jpg", "images of PASCAL Context")]
    return read_list(source / f"ImageSets/Main/{split}.txt")


def _copy_images(source: Path, splits: dict[str, list[str]], options: Options) -> list[Output]:
    outputs = []
    for split, stems in splits.items():
        target = _output(options.root, "images", split)
        jobs = [(source / "JPEGImages" / f"{stem}.jpg", target / f"{stem}.jpg") for stem in stems]
        outputs.append(count_outputs(target, run_jobs(copy_file, jobs, options.workers, f"images/{target.name}")))
    return outputs


def _convert_mats(
    source: Path, splits: dict[str, list[str]], options: Options, table: np.ndarray, name: str, suffix: str
) -> list[Output]:
    outputs = []
    for split, stems in splits.items():
        target = _output(options.root, f"annotations_{name}", split)
        jobs = [(source / "trainval" / f"{stem}.mat", target / f"{stem}{suffix}") for stem in stems]
        written = run_jobs(partial(_convert_mat, table=table), jobs, options.workers, f"{name}/{target.name}")
        outputs.append(count_outputs(target, written))
    return outputs


def _convert_mat(paths: tuple[Path, Path], table: np.ndarray) -> bool:
    source, target = paths
    stamp = stamp_of([source], table.tobytes())
    if is_current(target, stamp):
        return False
    write_label_map(target, renumber(read_label_mat(source), table, source), stamp)
    return True


def read_label_mat(path: Path) -> np.ndarray:
    """The (H, W) integer array "LabelMap" of a MATLAB file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, or holds no such array.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; unpack the annotations of PASCAL Context (459 classes) there")
    try:
        labels = loadmat(path)["LabelMap"]
    except Exception as error:  # a damaged file makes SciPy raise a dozen unrelated types
        raise ValueError(f"{path} is not a readable MATLAB file with a LabelMap: {error}") from error
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path}: LabelMap should be a matrix of integers, is {labels.dtype} {labels.shape}")
    return labels


def _has_detail(source: Path) -> bool:
    return (source / "trainval_merged.json").is_file() and importlib.util.find_spec("detail") is not None


def _prepare_with_detail(source: Path, options: Options) -> list[Output]:
    json_file = source / "trainval_merged.json"
    if not json_file.is_file():
        raise FileNotFoundError(f"{json_file} does not exist; download it, or use --labels mat")
    try:
        from detail import Detail
    except ImportError as error:
        raise ValueError("the package detail (PASCAL in Detail) is not installed; use --labels mat") from error
    table = lookup_table({id_: index for index, id_ in enumerate(IDS_59)}, IGNORE_59, _LABELS)
    outputs = []
    for split in FOLDERS:
        detail = Detail(str(json_file), str(source / "JPEGImages"), split)
        images = {Path(image["file_name"]).stem: image for image in detail.getImgs()}
        outputs += _copy_images(source, {split: sorted(images)}, options)
        target, stamp = _output(options.root, "annotations_ctx59", split), stamp_of([json_file], table.tobytes())
        outputs.append(_convert_masks(images, detail.getMask, target, table, stamp))
    return outputs


def _convert_masks(
    images: dict[str, dict[str, Any]],
    get_mask: Callable[[dict[str, Any]], np.ndarray],
    target: Path,
    table: np.ndarray,
    stamp: str,
) -> Output:
    """Write one label map per image; in this process, as the package's index is too large to be sent to others."""

    def convert(stem: str) -> bool:
        path = target / f"{stem}.png"
        if is_current(path, stamp):
            return False
        labels = np.asarray(get_mask(images[stem])).astype(np.int64)
        write_label_map(path, renumber(labels, table, Path(images[stem]["file_name"])), stamp)
        return True

    return count_outputs(target, run_jobs(convert, sorted(images), workers=0, description=f"ctx59/{target.name}"))
