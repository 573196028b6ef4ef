"""How evaluators find their way between the three numberings of classes: dataset ids, contiguous ids and names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from detectron2.data.catalog import Metadata


def display_names(class_strings: Sequence[str]) -> list[str]:
    """The first synonym of each class ("cat,kitten" -> "cat"), with the position added where two would be equal."""
    names = [string.split(",")[0].strip() for string in class_strings]
    repeated = {name for name, count in Counter(names).items() if count > 1}
    return [f"{name} ({index})" if name in repeated else name for index, name in enumerate(names)]


def dataset_ids(metadata: Metadata, things: bool) -> dict[int, int]:
    """Contiguous id -> dataset id, of things or of what the metadata calls stuff (often: all classes)."""
    key = f"{'thing' if things else 'stuff'}_dataset_id_to_contiguous_id"
    return {contiguous: dataset_id for dataset_id, contiguous in (metadata.get(key) or {}).items()}


def names_by_dataset_id(metadata: Metadata) -> dict[int, str]:
    """Dataset id -> name to display; {} where things and stuff are numbered on their own, so that ids clash."""
    names = display_names(metadata.get("stuff_classes") or metadata.get("thing_classes") or [])
    known = dataset_ids(metadata, things=False) | dataset_ids(metadata, things=True)
    if known and max(known) >= len(names):
        return {}
    return {dataset_id: names[contiguous] for contiguous, dataset_id in known.items()}
