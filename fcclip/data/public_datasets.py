"""Public datasets by name: where their owners publish them, and what is to be done after the download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fcclip.files.sources import Expected, WebSource

_TABLE = Path(__file__).resolve().parents[1] / "assets" / "datasets.json"


@dataclass(frozen=True)
class Archive:
    """A file that a dataset is published as.

    Attributes:
        name: of the file.
        sources: its addresses.
        page: the owner's, which names the address.
        expected: what is known of it, and checked.
        about: bytes that it has, for people; None if unknown.
        folder: where its content goes, below the folder of the datasets.
        provides: what lies there afterwards.
        strip: a folder in it that is left out of the names.
        inner: archives in it, by path below `folder`, and the folders that they are unpacked to.
    """

    name: str
    sources: tuple[WebSource, ...]
    page: str
    expected: Expected
    about: int | None
    folder: str
    provides: tuple[str, ...]
    strip: str
    inner: Mapping[str, str]


@dataclass(frozen=True)
class PublicDataset:
    """A dataset that can be asked for by name.

    Attributes:
        name: how it is asked for.
        title: for people.
        licence: as its owners state it.
        page: the owners'.
        archives: what is fetched; none of a dataset that needs a login.
        prepare: names of preparations (`fcclip.data.get.PREPARATIONS`), in order.
        check: names to be checked in the end, by split ("val", "train").
        by_hand: what a person has to do first where a login is needed.
        needs: what lies there once that is done.
        training_only: names of archives that the validation set does not need.
    """

    name: str
    title: str
    licence: str
    page: str
    archives: tuple[Archive, ...]
    prepare: tuple[str, ...]
    check: Mapping[str, tuple[str, ...]]
    by_hand: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    training_only: tuple[str, ...] = ()


@cache
def public_datasets() -> Mapping[str, PublicDataset]:
    """The datasets of `assets/datasets.json` by name."""
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    archives = {name: _read_archive(name, entry) for name, entry in table["archives"].items()}
    return {entry["name"]: _read_dataset(entry, archives) for entry in table["datasets"]}


def public_name(registered: str) -> str | None:
    """The public dataset that a registered one belongs to, if it has a name here and needs no login."""
    for dataset in public_datasets().values():
        if dataset.archives and any(registered in names for names in dataset.check.values()):
            return dataset.name
    return None


def _read_archive(name: str, entry: Mapping[str, Any]) -> Archive:
    return Archive(
        name=name,
        sources=tuple(WebSource(url, entry["page"]) for url in entry["urls"]),
        page=entry["page"],
        expected=Expected(entry["size"], entry["digest"]),
        about=entry["about"],
        folder=entry["folder"],
        provides=tuple(entry["provides"]),
        strip=entry.get("strip", ""),
        inner=entry.get("inner", {}),
    )


def _read_dataset(entry: Mapping[str, Any], archives: Mapping[str, Archive]) -> PublicDataset:
    return PublicDataset(
        name=entry["name"],
        title=entry["title"],
        licence=entry["licence"],
        page=entry["page"],
        archives=tuple(archives[name] for name in entry["archives"]),
        prepare=tuple(entry["prepare"]),
        check={split: tuple(names) for split, names in entry["check"].items()},
        by_hand=tuple(entry.get("by_hand", ())),
        needs=tuple(entry.get("needs", ())),
        training_only=tuple(entry.get("training_only", ())),
    )
