"""The classes of the user's own datasets: from the JSON file, from a file of names, or from both."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcclip.data.datasets.registry import dataset_root
from fcclip.drawing.colors import class_color
from fcclip.vocabulary import NamesFile, read_names

ClassMetadata = dict[str, Any]


def panoptic_json_metadata(json_file: str, names: str | None) -> ClassMetadata:
    """Class metadata of a COCO-panoptic file; classes are numbered by ascending category id."""
    path = dataset_root() / json_file
    categories = _read_categories(path)
    if any("isthing" not in category for category in categories):
        raise ValueError(f'{path}: a category has no "isthing" (1 for things, 0 for stuff)')
    ids = [category["id"] for category in categories]
    things = [index for index, category in enumerate(categories) if category["isthing"]]
    strings, colors = _strings(categories, names), _colors(categories)
    return {
        "thing_classes": [strings[index] for index in things],
        "thing_colors": [colors[index] for index in things],
        "stuff_classes": strings,
        "stuff_colors": colors,
        "thing_dataset_id_to_contiguous_id": {ids[index]: index for index in things},
        "stuff_dataset_id_to_contiguous_id": {id_: index for index, id_ in enumerate(ids)},
    }


def instance_json_metadata(json_file: str, names: str | None) -> ClassMetadata:
    """Class metadata of a COCO-instance file; classes are numbered by ascending category id."""
    categories = _read_categories(dataset_root() / json_file)
    return {
        "thing_classes": _strings(categories, names),
        "thing_colors": _colors(categories),
        "thing_dataset_id_to_contiguous_id": {category["id"]: index for index, category in enumerate(categories)},
    }


def names_file_metadata(names: str, ignore_label: int, unseen: Sequence[str] = ()) -> ClassMetadata:
    """Class metadata of label maps whose values are 0, 1, 2, ... in the order of a file of names.

    What the file calls a thing is one in the metadata too, so that panoptic results separate its objects. The classes
    with a name in `unseen` become `unseen_classes`, which zero-shot training and evaluation treat apart.
    """
    file = read_names(dataset_root() / names)
    file.require_labels()
    count = len(file.categories)
    if ignore_label < count:
        raise ValueError(f"{file.path} names class {ignore_label}, which is also the IGNORE_LABEL; choose another")
    unknown = set(unseen) - {name for category in file.categories for name in category.names}
    if unknown:
        raise ValueError(f'{file.path} has no class "{min(unknown)}", which UNSEEN lists')
    unseen_ids = [index for index, category in enumerate(file.categories) if not set(category.names).isdisjoint(unseen)]
    return {
        **({"unseen_classes": unseen_ids} if unseen_ids else {}),
        "stuff_classes": _class_strings(file),
        "stuff_colors": [list(class_color(index)) for index in range(count)],
        "thing_dataset_id_to_contiguous_id": {
            index: index for index, category in enumerate(file.categories) if category.is_thing
        },
        "stuff_dataset_id_to_contiguous_id": {index: index for index in range(count)},
    }


def _read_categories(path: Path) -> list[dict[str, Any]]:
    """The "categories" of a COCO-style JSON file, by ascending id."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; correct JSON of the dataset in DATASETS.CUSTOM")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    categories = content.get("categories") if isinstance(content, dict) else None
    if not categories or any(not {"id", "name"} <= category.keys() for category in categories):
        raise ValueError(f'{path} should have a list "categories" whose entries have "id" and "name"')
    return sorted(categories, key=lambda category: category["id"])


def _strings(categories: list[dict[str, Any]], names: str | None) -> list[str]:
    """The class string of each category: its name, or what the file of names says."""
    if names is None:
        return [category["name"] for category in categories]
    file = read_names(dataset_root() / names)
    ids = [category["id"] for category in categories]
    if file.ids is None:
        if len(file.categories) != len(ids):
            raise ValueError(f"{file.path} names {len(file.categories)} classes, but the JSON file lists {len(ids)}")
        return _class_strings(file)
    if set(file.ids) != set(ids):
        odd = min(set(file.ids) ^ set(ids))
        raise ValueError(f"{file.path} and the JSON file do not list the same category ids: only one of them has {odd}")
    named = dict(zip(file.ids, _class_strings(file), strict=True))
    return [named[id_] for id_ in ids]


def _class_strings(file: NamesFile) -> list[str]:
    """The synonyms of each class, trimmed and separated by commas."""
    return [",".join(category.names) for category in file.categories]


def _colors(categories: list[dict[str, Any]]) -> list[list[int]]:
    return [list(category.get("color") or class_color(index)) for index, category in enumerate(categories)]
