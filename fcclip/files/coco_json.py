"""Read COCO-style JSON files; whatever is wrong with one is told in one sentence that names the file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

Record = dict[str, Any]


def read_json_object(path: str | Path, what: str) -> Record:
    """Read a JSON file that holds one object.

    Args:
        path: the file.
        what: what it should be, for messages: "panoptic JSON".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not UTF-8, not JSON, or not an object.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{what} {path} is a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"{what} {path} does not exist")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except RecursionError:
        raise ValueError(f"{path} is not a {what}: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a {what}: it holds a {type(content).__name__}, not an object")
    return content


def read_list(content: Mapping[str, Any], key: str, path: Path, required: bool = True) -> list[Record]:
    """The list of objects `content[key]`; an empty one if it is not there and not required.

    Raises:
        ValueError: it is missing, no list, or one of its entries is no object.
    """
    if key not in content and not required:
        return []
    values = content.get(key)
    if not isinstance(values, list):
        raise ValueError(f'{path}: "{key}" should be a list, it is {_kind(values)}')
    wrong = next((position for position, value in enumerate(values) if not isinstance(value, dict)), None)
    if wrong is not None:
        raise ValueError(f'{path}: entry {wrong} of "{key}" should be an object, it is {_kind(values[wrong])}')
    return values


def is_id(value: Any) -> bool:
    """Whether a value can be the id of an image: an integer or a string."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def is_integer(value: Any) -> bool:
    """Whether a value is an integer; `true` and `false` are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def index_by_id(records: Sequence[Record], key: str, path: Path) -> dict[int | str, Record]:
    """Records by their "id", in their order; `key` is the list that they come from.

    Raises:
        ValueError: an id is missing, neither integer nor string, or given twice.
    """
    indexed: dict[int | str, Record] = {}
    for record in records:
        id_: Any = record.get("id")
        if not is_id(id_):
            raise ValueError(f'{path}: an entry of "{key}" has the id {id_!r}; an id is an integer or a string')
        if id_ in indexed:
            raise ValueError(f'{path}: "{key}" lists the id {id_!r} twice')
        indexed[id_] = record
    return indexed


def read_categories(content: Mapping[str, Any], path: Path) -> dict[int, Record]:
    """The "categories" by ascending id; an empty dict if there are none.

    Raises:
        ValueError: an id is no integer or is given twice, or a name, a colour or "isthing" cannot be one.
    """
    categories = index_by_id(read_list(content, "categories", path, required=False), "categories", path)
    for id_, category in categories.items():
        if not is_integer(id_):
            raise ValueError(f"{path}: category id {id_!r} should be an integer")
        name, color = category.get("name", "x"), category.get("color")
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{path}: category {id_} should have a name, it has {name!r}")
        if color is not None and not _is_color(color):
            raise ValueError(f"{path}: category {id_} has the color {color!r}; a color is [R, G, B] with 0..255")
        if category.get("isthing", 0) not in (0, 1):
            raise ValueError(
                f'{path}: category {id_} has "isthing" {category["isthing"]!r}; it is 1 for things, else 0'
            )
    return {id_: categories[id_] for id_ in sorted(int(id_) for id_ in categories)}


def require_described(categories: Mapping[Any, Record], path: Path, *fields: str) -> None:
    """Refuse categories that lack one of some fields, which are optional in files of predictions.

    Raises:
        ValueError: one does; names the file, the category and the field.
    """
    for id_, category in categories.items():
        for field in fields:
            if field not in category:
                raise ValueError(
                    f'{path}: category {id_} has no "{field}"; each of the "categories" of ground truth has one'
                )


def is_inside(name: str) -> bool:
    """Whether a file name of a JSON stays below the folder that it is relative to, on every operating system."""
    forms = PurePosixPath(name), PureWindowsPath(name)
    return bool(name) and "\0" not in name and not any(form.anchor or ".." in form.parts for form in forms)


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(is_integer(v) and 0 <= v <= 255 for v in value)


def _kind(value: Any) -> str:
    return "missing or null" if value is None else f"a {type(value).__name__}"
