"""From the name of a public dataset to a dataset that is ready: fetch, unpack, prepare, check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fcclip.data.prepare import (
    ade20k,
    ade20k_full,
    cityscapes,
    coco,
    pascal_context,
    pascal_voc,
    pascal_voc_aug,
)
from fcclip.data.prepare.jobs import Options, Output
from fcclip.data.public_datasets import Archive, PublicDataset
from fcclip.files.archives import unpack
from fcclip.files.atomic import write_text
from fcclip.files.download import DownloadError, download
from fcclip.files.transfer import DiskFullError, check_room

DOWNLOADS = "downloads"  # folder of the archives, below that of the datasets
BEGUN, UNPACKED = "begun", "unpacked"

PREPARATIONS: Mapping[str, Callable[[Options], list[Output]]] = {
    "coco-panoptic": coco.prepare_semantic,
    "coco-stuff": coco.prepare_stuff,
    "ade20k-semantic": ade20k.prepare_semantic,
    "ade20k-instances": ade20k.prepare_instances,
    "ade20k-panoptic": ade20k.prepare_panoptic,
    "ade20k-full": ade20k_full.prepare,
    "cityscapes": cityscapes.prepare,
    "voc": pascal_voc.prepare,
    "sbd": pascal_voc_aug.prepare,
    "pascal-context-59": pascal_context.prepare_59,
    "pascal-context-459": pascal_context.prepare_459,
}


def missing_archives(dataset: PublicDataset, root: Path, training: bool) -> list[Archive]:
    """The archives whose content is not there.

    Args:
        dataset: any.
        root: the folder of the datasets.
        training: also images that only training needs.
    """
    left_out = () if training else dataset.training_only
    wanted = (archive for archive in dataset.archives if archive.name not in left_out)
    return [archive for archive in wanted if not is_unpacked(archive, root)]


def is_unpacked(archive: Archive, root: Path) -> bool:
    """Whether the content of an archive lies there, and not half of it; it may have been put there by other means."""
    return _state(archive, root) in ("", UNPACKED) and all(_is_there(root / path) for path in archive.provides)


def delete_unpacked(archives: Sequence[Archive], root: Path) -> None:
    """Delete the archives that an interrupted run had unpacked and was about to delete."""
    for archive in archives:
        if _state(archive, root) == UNPACKED:
            (root / DOWNLOADS / archive.name).unlink(missing_ok=True)
            _unpacking(archive, root).unlink()


def fetch_and_unpack(archives: Sequence[Archive], root: Path, keep: bool) -> None:
    """Bring the content of archives below `root`; one that is whole is not asked for again.

    Args:
        archives: those that are missing.
        root: the folder of the datasets.
        keep: do not delete the archives when they are unpacked.

    Raises:
        DownloadError: one could not be fetched, or there is no room.
        ArchiveError: one is damaged or holds what it should not.
    """
    folder = root / DOWNLOADS
    folder.mkdir(parents=True, exist_ok=True)
    coming = [archive for archive in archives if not (folder / archive.name).is_file()]
    try:
        check_room(root, sum(archive.about or 0 for archive in coming), "the download")
        for archive in archives:
            path = download(folder / archive.name, archive.sources, archive.expected)
            _unpack(archive, path, root)
            if keep:
                _unpacking(archive, root).unlink()
            else:
                write_text(_unpacking(archive, root), UNPACKED)
                delete_unpacked([archive], root)
    except DiskFullError as error:
        raise DownloadError(
            f"{error}; make room or choose another --root, and start again: what is there is kept"
        ) from error


def prepare(dataset: PublicDataset, options: Options) -> list[Output]:
    """Run the preparations of a dataset.

    Raises:
        FileNotFoundError, ValueError: a file is missing or not what it should be.
    """
    return [output for name in dataset.prepare for output in PREPARATIONS[name](options)]


def is_placed(dataset: PublicDataset, root: Path) -> bool:
    """Whether what a person has to fetch lies where it belongs."""
    return all(_is_there(root / path) for path in dataset.needs)


def _unpack(archive: Archive, path: Path, root: Path) -> None:
    write_text(_unpacking(archive, root), BEGUN)
    folder = root / archive.folder
    unpack(path, folder, archive.strip)
    for inner, target in archive.inner.items():
        unpack(folder / inner, root / target)
        (folder / inner).unlink()


def _unpacking(archive: Archive, root: Path) -> Path:
    """A file that lies there while an archive is being unpacked, and until it is deleted."""
    return root / DOWNLOADS / f"{archive.name}.unpacking"


def _state(archive: Archive, root: Path) -> str:
    """What was last done with an archive: BEGUN, UNPACKED, or "" where nothing is under way."""
    path = _unpacking(archive, root)
    return (path.read_text(encoding="utf-8") or BEGUN) if path.is_file() else ""


def _is_there(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.is_file()
