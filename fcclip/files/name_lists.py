"""Class names as people write them: lines, JSON, YAML, CSV, lists and dictionaries become one list of strings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcclip.files.paths import require_file
from fcclip.files.yaml_files import parse_yaml

MAX_BYTES = 16 << 20  # the names of ten thousand classes take a hundredth of it
INVALID_CLASS = "invalid_class_id"

_NUMBERED = re.compile(r"\s*([0-9]+)\s*:(.*)")
_COLUMNS = re.compile(r"\s*([0-9]+)\s*[,;\t]\s*(\S.*)")
_HEADER = re.compile(r"\s*\"?(id|index|class_?id|label|number|#)\"?\s*[,;\t]", re.IGNORECASE)
_DOCUMENT = re.compile(r"^\s*\"?(names|categories)\"?\s*:", re.MULTILINE)
_SHAPES = (
    'give a list like ["cat", "dog"], a mapping of numbers to names like {0: "cat"}, or of names to lists of synonyms'
)


@dataclass(frozen=True)
class NameList:
    """Classes in their order.

    Attributes:
        ids: their numbers, ascending; None if they have none.
        strings: the names of each class, separated by commas, perhaps with `=stuff` at the end.
    """

    ids: tuple[int, ...] | None
    strings: tuple[str, ...]


def read_name_list(path: str | Path) -> NameList:
    """Read a file of names: lines (see `parse_name_list`), JSON, or YAML such as YOLO's `data.yaml`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file, is too large, is not UTF-8, or what it holds is no list of names.
    """
    try:
        path = require_file(path, "vocabulary file")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no vocabulary file {path}") from None
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError(f"{path} is larger than {MAX_BYTES >> 20} MiB; a vocabulary file holds names only")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; save it as UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path} has NUL bytes, so it is not UTF-8 text; save it as UTF-8")
    try:
        return parse_name_list(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_name_list(text: str) -> NameList:
    """The classes of a text.

    It is a JSON or YAML document, or has one class per line or between semicolons, each with synonyms after commas. On
    every line a number may come first, with a colon, or with a comma, semicolon or tab as in CSV; then the classes are
    sorted by it, and those called `invalid_class_id` are left out. Blank lines, and lines that start with `#`, are
    skipped.

    Raises:
        ValueError: the document is not valid or no list of names, only some lines are numbered, or a number is given
            twice.
    """
    if text.lstrip()[:1] in ("[", "{") or _DOCUMENT.search(text):
        return name_list_of(_parse_document(text))
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if len(lines) > 1 and _HEADER.match(lines[0]) and all(map(_COLUMNS.fullmatch, lines[1:])):
        lines = lines[1:]
    pairs = [match.groups() for line in lines if (match := _COLUMNS.fullmatch(line))]
    if pairs and len(pairs) == len(lines):
        return _by_number([(int(number), _names_of_row(row)) for number, row in pairs])
    pairs = [match.groups() for line in lines if (match := _NUMBERED.fullmatch(line))]
    if len(lines) > 1 and len(pairs) == len(lines):  # as in the published lists: what is after the colon is kept
        return _by_number([(int(number), string) for number, string in pairs])
    parts = [part for line in lines for part in line.split(";") if part.strip()]
    pairs = [match.groups() for part in parts if (match := _NUMBERED.fullmatch(part))]
    if pairs and len(pairs) < len(parts):
        raise ValueError(f"{len(pairs)} of {len(parts)} lines begin with a number; number every line, or none")
    if pairs:
        return _by_number([(int(number), string) for number, string in pairs])
    return NameList(None, tuple(parts))


def _names_of_row(row: str) -> str:
    """What stands after the number in a row of CSV: names, and no more numbers."""
    names = [name.strip().strip('"') for name in re.split(r"[,;\t]", row.strip().strip('"'))]
    if any(name.isdigit() for name in names):
        raise ValueError(
            f'the row "{row[:60]}" has more columns of numbers; keep the number and the names of each class'
        )
    return ",".join(name for name in names if name)


def name_list_of(value: Any) -> NameList:
    """The classes of a list or mapping: names, `{number: name}`, `{name: number}`, `{name: [synonyms]}`, YOLO's
    `{"names": ...}` or COCO's `{"categories": [{"id": ..., "name": ...}]}`.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, Mapping):
        for key in ("names", "categories"):
            if key in value:
                return name_list_of(value[key])
        return _of_mapping(value)
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ValueError(f"the classes are {_short(value)}; {_SHAPES}")
    items = list(value)
    if items and all(isinstance(item, Mapping) and "name" in item for item in items):
        return _of_categories(items)
    return NameList(None, tuple(_string(item) for item in items))


def _parse_document(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep; " + _SHAPES) from None
    except ValueError:
        return parse_yaml(text, "the vocabulary")  # also what Python prints of a list or dictionary


def _of_mapping(value: Mapping[Any, Any]) -> NameList:
    keys = list(value)
    if keys and all(_is_number(key) for key in keys):
        return _by_number([(int(key), _string(value[key])) for key in keys])
    if keys and all(isinstance(key, str) and _is_number(value[key]) for key in keys):
        return _by_number([(int(value[key]), key) for key in keys])
    if keys and all(isinstance(key, str) and isinstance(value[key], list | tuple) for key in keys):
        return NameList(None, tuple(_string([key, *value[key]]) for key in keys))
    raise ValueError(f"{_short(dict(value))} is no list of classes; {_SHAPES}")


def _of_categories(items: Sequence[Mapping[str, Any]]) -> NameList:
    strings = [_string(item["name"]) + ("=stuff" if item.get("isthing", 1) == 0 else "") for item in items]
    if all(_is_number(item.get("id")) for item in items):
        return _by_number([(int(item["id"]), string) for item, string in zip(items, strings, strict=True)])
    return NameList(None, tuple(strings))


def _by_number(pairs: Sequence[tuple[int, str]]) -> NameList:
    strings = dict(sorted(pairs))
    if len(strings) < len(pairs):
        ids = [number for number, _ in pairs]
        raise ValueError(f"the number {next(number for number in ids if ids.count(number) > 1)} is given twice")
    valid = {number: string for number, string in strings.items() if string.strip() != INVALID_CLASS}
    return NameList(tuple(valid), tuple(valid.values()))


def _string(item: Any) -> str:
    """A class as one string: a name, or a list of synonyms."""
    if isinstance(item, str):
        return item
    if isinstance(item, list | tuple) and item and all(isinstance(name, str) for name in item):
        return ",".join(item)
    raise ValueError(f'a class is text like "cat,kitten", not {_short(item)}; put names in quotes')


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit()
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
