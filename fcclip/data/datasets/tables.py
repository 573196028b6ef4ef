"""The classes of each dataset: ids, names, thing flags and colours, read from the tables shipped with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fcclip.drawing.colors import class_color
from fcclip.vocabulary import read_names

Color = tuple[int, int, int]
ClassMetadata = dict[str, Any]


@dataclass(frozen=True)
class CategoryTable:
    """The categories of a dataset in contiguous order: the index of a category is the class id the model uses.

    Attributes:
        ids: the ids that the dataset's own annotations use.
        names: plain names, as the dataset spells them.
        is_thing: whether a category is countable.
        colors: RGB in 0..255.
    """

    ids: tuple[int, ...]
    names: tuple[str, ...]
    is_thing: tuple[bool, ...]
    colors: tuple[Color, ...]

    def index_of_id(self, things: bool = True, stuff: bool = True) -> dict[int, int]:
        """Dataset id -> contiguous index, for things, stuff or both."""
        columns = enumerate(zip(self.ids, self.is_thing, strict=True))
        return {id_: index for index, (id_, is_thing) in columns if (things if is_thing else stuff)}


def vocabulary_path(stem: str) -> Path:
    """Path of a shipped vocabulary file, e.g. for "ade20k_150"."""
    return Path(str(resources.files(__package__) / "vocabularies" / f"{stem}.txt"))


@cache
def category_table(stem: str) -> CategoryTable:
    """The shipped table of a dataset, e.g. "ade20k_150"; colours it lacks are those of `fcclip.drawing.colors`."""
    text = (resources.files(__package__) / "categories" / f"{stem}.json").read_text(encoding="utf-8")
    rows = json.loads(text)
    colors = [row.get("color", class_color(index)) for index, row in enumerate(rows)]
    return CategoryTable(
        ids=tuple(row["id"] for row in rows),
        names=tuple(row["name"] for row in rows),
        is_thing=tuple(bool(row.get("isthing")) for row in rows),
        colors=tuple((red, green, blue) for red, green, blue in colors),
    )


@cache
def vocabulary_lines(stem: str) -> tuple[tuple[int, str], ...]:
    """(id, "name,synonym,...") of every class of a shipped vocabulary file, by ascending id."""
    return tuple(read_names(vocabulary_path(stem)).by_id().items())


def panoptic_table_metadata(
    stem: str, *, stuff_map_has_things: bool = True, only_things_in_thing_classes: bool = True
) -> ClassMetadata:
    """Class metadata of a panoptic dataset; `stuff_classes` holds every class, things included.

    Args:
        stem: name of the category table and of the vocabulary file.
        stuff_map_has_things: let the stuff map hold every class, so that Detectron2's semantic evaluator, which
            knows only that map, can be used.
        only_things_in_thing_classes: else `thing_classes` lists every class, as published for street scenes, so that
            it can be indexed by contiguous id.
    """
    table = category_table(stem)
    strings, colors, vocabulary = _named(stem, table)
    listed = [i for i, thing in enumerate(table.is_thing) if thing or not only_things_in_thing_classes]
    return {
        "thing_classes": [strings[i] for i in listed],
        "thing_colors": [colors[i] for i in listed],
        "stuff_classes": strings,
        "stuff_colors": colors,
        "thing_dataset_id_to_contiguous_id": table.index_of_id(stuff=False),
        "stuff_dataset_id_to_contiguous_id": table.index_of_id(things=stuff_map_has_things),
        **vocabulary,
    }


def semantic_table_metadata(stem: str, *, skip_first: bool = False) -> ClassMetadata:
    """Class metadata of a semantic dataset: every class is stuff; `skip_first` drops a background class."""
    table = category_table(stem)
    first = int(skip_first)
    strings, colors, vocabulary = _named(stem, table)
    return {
        "stuff_classes": strings[first:],
        "stuff_colors": colors[first:],
        "thing_dataset_id_to_contiguous_id": {},
        "stuff_dataset_id_to_contiguous_id": {id_: i for i, id_ in enumerate(table.ids[first:])},
        "vocabulary": vocabulary["vocabulary"],
        "vocabulary_ids": vocabulary["vocabulary_ids"][first:],
    }


def instance_table_metadata(stem: str, *, plain_names: bool = False) -> ClassMetadata:
    """Class metadata of an instance dataset: the things of a table, numbered from 0.

    With `plain_names` a class is called as the dataset calls it and no vocabulary file is named.
    """
    table = category_table(stem)
    strings, colors, vocabulary = _named(stem, table)
    things = [i for i, thing in enumerate(table.is_thing) if thing]
    classes: ClassMetadata = {
        "thing_classes": [table.names[i] if plain_names else strings[i] for i in things],
        "thing_colors": [colors[i] for i in things],
        "thing_dataset_id_to_contiguous_id": {table.ids[i]: rank for rank, i in enumerate(things)},
    }
    if not plain_names:
        classes["vocabulary"] = vocabulary["vocabulary"]
        classes["vocabulary_ids"] = tuple(vocabulary["vocabulary_ids"][i] for i in things)
    return classes


def _named(stem: str, table: CategoryTable) -> tuple[list[str], list[list[int]], ClassMetadata]:
    """Class strings and colours in contiguous order, and where the strings come from."""
    lines = vocabulary_lines(stem)
    if len(lines) != len(table.ids):
        raise ValueError(f"{vocabulary_path(stem)} names {len(lines)} classes, the category table {len(table.ids)}")
    source = {"vocabulary": stem, "vocabulary_ids": tuple(id_ for id_, _ in lines)}
    return [string for _, string in lines], [list(color) for color in table.colors], source
