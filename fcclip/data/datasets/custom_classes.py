"""The classes of datasets of one's own: from the JSON file, from a file of names, or from both."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from fcclip.data.datasets.registry import dataset_root
from fcclip.drawing.colors import class_color
from fcclip.vocabulary import Category, Vocabulary

ClassMetadata = dict[str, Any]

_NUMBERED = re.compile(r"(\d+)\s*:(.*)")


@dataclass(frozen=True)
class NamesFile:
    """A file of names: one class a line.

    Attributes:
        path: the file.
        ids: the ids that the lines begin with, ascending, or None if they have none.
        categories: the class of each id, or of each line.
    """

    path: Path
    ids: tuple[int, ...] | None
    categories: tuple[Category, ...]

    @property
    def strings(self) -> list[str]:
        """The synonyms of each class, comma-separated."""
        return [",".join(category.names) for category in self.categories]


def read_names(path: Path) -> NamesFile:
    """Read lines `name,synonym,...` or `id:name,synonym,...`, with `=stuff` after stuff.

    Blank lines and lines that start with # are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: only some lines have an id, an id or name occurs twice, or a name is empty.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file of names {path}")
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    numbered = [(int(match.group(1)), match.group(2)) for line in lines if (match := _NUMBERED.fullmatch(line))]
    if numbered and len(numbered) < len(lines):
        raise ValueError(f"{path}: {len(numbered)} of {len(lines)} lines begin with an id; number all lines, or none")
    numbered.sort(key=itemgetter(0))
    ids = tuple(id_ for id_, _ in numbered)
    if len(set(ids)) < len(ids):
        raise ValueError(f"{path}: the id {next(id_ for id_ in ids if ids.count(id_) > 1)} occurs twice")
    try:
        vocabulary = Vocabulary.from_class_strings([string for _, string in numbered] or lines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return NamesFile(path, ids or None, vocabulary.categories)


def panoptic_classes(json_file: str, names: str | None) -> ClassMetadata:
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


def instance_classes(json_file: str, names: str | None) -> ClassMetadata:
    """Class metadata of a COCO-instance file; classes are numbered by ascending category id."""
    categories = _read_categories(dataset_root() / json_file)
    return {
        "thing_classes": _strings(categories, names),
        "thing_colors": _colors(categories),
        "thing_dataset_id_to_contiguous_id": {category["id"]: index for index, category in enumerate(categories)},
    }


def label_map_classes(names: str, ignore_label: int, unseen: Sequence[str] = ()) -> ClassMetadata:
    """Class metadata of label maps whose values are 0, 1, 2, ... in the order of a file of names.

    What the file calls a thing is one in the metadata too, so that panoptic results separate its objects. The classes
    with a name in `unseen` become ``unseen_classes``, which zero-shot training and evaluation treat apart.
    """
    file = read_names(dataset_root() / names)
    count = len(file.categories)
    if file.ids is not None and file.ids != tuple(range(count)):
        raise ValueError(
            f"{file.path} numbers its {count} classes {file.ids[0]}..{file.ids[-1]}, but training needs label maps "
            f"with values 0..{count - 1}; make such with `python datasets/prepare_own_label_maps.py`"
        )
    if ignore_label < count:
        raise ValueError(f"{file.path} names class {ignore_label}, which is also the IGNORE_LABEL; choose another")
    unknown = set(unseen) - {name for category in file.categories for name in category.names}
    if unknown:
        raise ValueError(f'{file.path} has no class "{min(unknown)}", which UNSEEN lists')
    unseen_ids = [index for index, category in enumerate(file.categories) if not set(category.names).isdisjoint(unseen)]
    return {
        **({"unseen_classes": unseen_ids} if unseen_ids else {}),
        "stuff_classes": file.strings,
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
    """A class string a category: its name, or what the file of names says."""
    if names is None:
        return [category["name"] for category in categories]
    file = read_names(dataset_root() / names)
    ids = [category["id"] for category in categories]
    if file.ids is None:
        if len(file.categories) != len(ids):
            raise ValueError(f"{file.path} names {len(file.categories)} classes, but the JSON file lists {len(ids)}")
        return file.strings
    if set(file.ids) != set(ids):
        odd = min(set(file.ids) ^ set(ids))
        raise ValueError(f"{file.path} and the JSON file do not list the same category ids: only one of them has {odd}")
    named = dict(zip(file.ids, file.strings, strict=True))
    return [named[id_] for id_ in ids]


def _colors(categories: list[dict[str, Any]]) -> list[list[int]]:
    return [list(category.get("color") or class_color(index)) for index, category in enumerate(categories)]
