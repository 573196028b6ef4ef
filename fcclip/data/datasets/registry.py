"""Registration of datasets with Detectron2, without touching a file before a dataset is used."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata

from fcclip.data.datasets.layouts import Layout, Record
from fcclip.data.public_datasets import public_name
from fcclip.data.validation.findings import Findings
from fcclip.data.validation.records import inspect_files

# Every dataset registered here, by name.
REGISTERED: dict[str, DatasetSpec] = {}


def dataset_root() -> Path:
    """The folder below which datasets lie: $DETECTRON2_DATASETS, else "datasets"."""
    return Path(os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as it can be registered.

    Attributes:
        name: its name in both of Detectron2's catalogs.
        classes: makes the metadata about classes; called when the first attribute is asked for.
        constants: further metadata that is known at once.
        layout: where its files lie and how they are read; None for a set that has metadata only.
        how_to_get: what to do when files are missing.
        sizes: numbers of images that a whole copy may have; empty if unknown.
        root: gives the folder that the layout's paths start from.
    """

    name: str
    classes: Callable[[], dict[str, Any]]
    constants: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout | None = None
    how_to_get: str = ""
    sizes: tuple[int, ...] = ()
    root: Callable[[], Path] = dataset_root


class LazyMetadata(Metadata):
    """Detectron2's Metadata whose attributes are made when the first of them is asked for.

    Paths are not stored but made at every access, so that $DETECTRON2_DATASETS may be set after the import. A copy or a
    pickle is an ordinary Metadata with the values of that moment.
    """

    __slots__ = ("_classes", "_paths", "_root")  # not in __dict__, which holds the visible attributes

    def __init__(
        self,
        name: str,
        classes: Callable[[], dict[str, Any]],
        paths: Mapping[str, str],
        root: Callable[[], Path] = dataset_root,
    ) -> None:
        object.__setattr__(self, "_classes", classes)
        object.__setattr__(self, "_paths", dict(paths))
        object.__setattr__(self, "_root", root)
        super().__init__(name=name)

    def __getattr__(self, key: str) -> Any:
        """Called by Python for what is not in __dict__ (yet)."""
        if key.startswith("__"):
            raise AttributeError(key)
        if key in self._paths:
            return str(self._root() / self._paths[key])
        if self._fill():
            return getattr(self, key)
        return super().__getattr__(key)

    def as_dict(self) -> dict[str, Any]:
        """A copy of all metadata as a dict."""
        self._fill()
        return {**copy.copy(self.__dict__), **{key: getattr(self, key) for key in self._paths}}

    def __reduce__(self) -> tuple[Any, ...]:
        return _plain_metadata, (self.as_dict(),)

    def _fill(self) -> bool:
        """Make the attributes; whether that had not been done before."""
        classes = self._classes
        if classes is None:
            return False
        values = classes()
        object.__setattr__(self, "_classes", None)
        self.__dict__.update({**values, **self.__dict__})
        return True


def register(spec: DatasetSpec) -> None:
    """Put a dataset into Detectron2's catalogs; doing it again replaces the registration."""
    paths = spec.layout.metadata_paths() if spec.layout else {}
    constants = dict(spec.constants)
    REGISTERED[spec.name] = spec
    MetadataCatalog[spec.name] = LazyMetadata(spec.name, lambda: {**spec.classes(), **constants}, paths, spec.root)
    if spec.layout:
        DatasetCatalog[spec.name] = partial(load_dataset, spec)


def load_dataset(spec: DatasetSpec) -> list[Record]:
    """The records of a dataset in Detectron2's format, judged: what was mended is logged, problems are refused.

    Raises:
        FileNotFoundError: a file or folder is missing; says which, and how to get it.
        ValueError: the dataset has metadata only, is empty, or its annotations are wrong; names file and annotation.
    """
    records, findings = read_records(spec)
    if not records:
        raise ValueError(f'dataset "{spec.name}" has no image')
    findings.merge(inspect_files(records))
    findings.settle(spec.name)
    return records


def read_records(spec: DatasetSpec) -> tuple[list[Record], Findings]:
    """The records and what is found in the annotations; none of the files that the records name need exist."""
    if spec.layout is None:
        raise ValueError(f'"{spec.name}" has metadata only and cannot be loaded')
    root, findings = spec.root(), Findings()
    require_files(spec, root)
    metadata = MetadataCatalog.get(spec.name)
    return spec.layout.load(root, metadata, findings), findings


def require_files(spec: DatasetSpec, root: Path) -> None:
    """Raise FileNotFoundError that says where `spec` was looked for, what is missing there and how to get it."""
    if spec.layout is None:
        return
    missing = [path for path in spec.layout.required() if not _is_there(root / path)]
    if missing:
        remedy = f" {spec.how_to_get}" if spec.how_to_get else ""
        name = public_name(spec.name)
        remedy += f" `python -m fcclip data get {name}` does all of it." if name else ""
        raise FileNotFoundError(
            f'dataset "{spec.name}" is not whole: looked in {root.absolute()} for {", ".join(missing)}, '
            f"which {'is' if len(missing) == 1 else 'are'} missing or empty there.{remedy}"
        )


def _is_there(path: Path) -> bool:
    if path.is_dir():
        return any(path.iterdir())
    return path.is_file() and path.stat().st_size > 0


def _plain_metadata(values: dict[str, Any]) -> Metadata:
    return Metadata(**values)
