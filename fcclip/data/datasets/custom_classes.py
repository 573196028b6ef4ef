"""The classes of the user's own datasets: from the JSON file, from a file of names, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcclip.data.datasets.registry import dataset_root
from fcclip.data.validation.instances import read_instances
from fcclip.drawing.colors import class_color
from fcclip.files.coco_json import read_categories, read_json_object
from fcclip.vocabulary import NamesFile, read_names

ClassMetadata = dict[str, Any]


def panoptic_json_metadata(json_file: str, names: str | None) -> ClassMetadata:
    """Class metadata of a COCO-panoptic file; classes are numbered by ascending category id."""
    path = dataset_root() / json_file
    categories = _named(path, read_categories(_read(path, "panoptic JSON"), path))
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
    path = dataset_root() / json_file
    _require(path)
    categories = _named(path, read_instances(path).categories)
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


def _read(path: Path, what: str) -> dict[str, Any]:
    _require(path)
    return read_json_object(path, what)


def _require(path: Path) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; correct JSON of the dataset in DATASETS.CUSTOM")


def _named(path: Path, categories: Mapping[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """The categories in their order, each with a name of its own."""
    if not categories or any("name" not in category for category in categories.values()):
        raise ValueError(f'{path} should have a list "categories" whose entries have "id" and "name"')
    seen: dict[str, int] = {}
    for id_, category in categories.items():
        name = category["name"].strip().casefold()
        if seen.setdefault(name, id_) != id_:
            raise ValueError(
                f'{path}: the categories {seen[name]} and {id_} are both called "{category["name"]}", so that no model '
                "can tell them apart; rename one, or make them one category"
            )
    return list(categories.values())


def _strings(categories: list[dict[str, Any]], names: str | None) -> list[str]:
    """The class string of each category: its name, or what the file of names says."""
    if names is None:
        return [category["name"] for category in categories]
    file = read_names(dataset_root() / names)
    ids = [category["id"] for category in categories]
    if file.ids is None and len(file.categories) != len(ids):
        raise ValueError(f"{file.path} names {len(file.categories)} classes, but the JSON file lists {len(ids)}")
    if file.ids is not None and set(file.ids) != set(ids):
        odd = min(set(file.ids) ^ set(ids))
        raise ValueError(f"{file.path} and the JSON file do not list the same category ids: only one of them has {odd}")
    # The ids of both are ascending.
    _require_same_order(file, categories)
    return _class_strings(file)


def _require_same_order(file: NamesFile, categories: list[dict[str, Any]]) -> None:
    """Refuse a file of names that gives the JSON's own name of one category to another."""
    position = {name.casefold(): index for index, category in enumerate(file.categories) for name in category.names}
    for index, category in enumerate(categories):
        found = position.get(category["name"].strip().casefold(), index)
        if found != index:
            raise ValueError(
                f'{file.path} names category {categories[found]["id"]} "{file.strings[found].strip()}", but the JSON '
                f'has "{category["name"]}" as category {category["id"]}; order the lines by id, or number them'
            )


def _class_strings(file: NamesFile) -> list[str]:
    """The synonyms of each class, trimmed and separated by commas."""
    return [",".join(category.names) for category in file.categories]


def _colors(categories: list[dict[str, Any]]) -> list[list[int]]:
    return [list(category.get("color") or class_color(index)) for index, category in enumerate(categories)]
