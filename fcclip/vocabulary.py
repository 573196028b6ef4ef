"""Class names given by the user: a vocabulary is an ordered list of categories, each with its synonyms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fcclip.files.vocabularies import vocabulary_folder

MAX_NAME_CHARACTERS = 200
PUBLISHED_SUFFIX = "_with_prompt_eng"
INVALID_CLASS = "invalid_class_id"

_NUMBERED_LINE = re.compile(r"^\s*(\d+):(.*)$")


@dataclass(frozen=True)
class Category:
    """One class: its synonyms, the first of which is displayed.

    Args:
        names: at least one name; every name becomes a set of prompts, and the best matching one counts.
        is_thing: countable objects (a segment each) or stuff (one segment per image).
        color: RGB, 0..255, or None to have one chosen.
    """

    names: tuple[str, ...]
    is_thing: bool = True
    color: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if not self.names or not all(name.strip() for name in self.names):
            raise ValueError(f"a class has an empty name among {list(self.names)}; every class needs a name")

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True)
class Vocabulary:
    """The classes that a model is asked for; a class's position is its contiguous id.

    Raises:
        ValueError: if there is no class.
    """

    categories: tuple[Category, ...]

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError('the vocabulary has no classes; pass names like "cat,kitten; sky=stuff"')

    @classmethod
    def from_string(cls, text: str) -> Vocabulary:
        """Parse ``"cat,kitten; sky=stuff; forklift"``: classes by ";", synonyms by ",", things unless "=stuff"."""
        return cls.from_class_strings(part for part in text.split(";") if part.strip())

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        """Read one class a line, ``name,synonym`` with ``=stuff`` as in :meth:`from_string`.

        Lines may carry a leading number (``12:name,synonym``), as in the published vocabulary files; blank lines and
        lines that start with ``#`` are skipped.
        """
        lines = [line for line in _read_text(Path(path)).splitlines() if line.strip() and not line.startswith("#")]
        numbered = (_NUMBERED_LINE.match(line) for line in lines)
        strings = [match.group(2) if match else line for match, line in zip(numbered, lines, strict=True)]
        try:
            return cls.from_class_strings(string for string in strings if string.strip() != INVALID_CLASS)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def from_class_strings(cls, strings: Iterable[str]) -> Vocabulary:
        """Build from user-written class strings, strictly: no empty, over-long or repeated names."""
        categories = tuple(_parse_category(string) for string in strings)
        seen: dict[str, str] = {}
        for category in categories:
            for name in category.names:
                key = name.casefold()
                if key in seen:
                    raise ValueError(
                        f'the name "{name}" is given twice (classes "{seen[key]}" and "{category.name}"); remove one'
                    )
                seen[key] = category.name
        return cls(categories)

    @classmethod
    def from_metadata(cls, metadata: Any, vocabulary_dir: str | Path = "") -> Vocabulary:
        """The classes of a Detectron2 dataset, spelled exactly as there (repeated names are kept).

        Args:
            metadata: has ``stuff_classes`` (things and stuff) or, without it, ``thing_classes``: one string of
                comma-separated synonyms a class.
            vocabulary_dir: a folder of vocabulary files to take the names from instead, or "published" for those of the
                FC-CLIP release, which are fetched once; used for datasets that name their file (attribute
                ``vocabulary``).

        Raises:
            ValueError: if the metadata names no classes, or a file lacks a class.
            FileNotFoundError: if ``vocabulary_dir`` lacks the dataset's file.
            DownloadError: if the published files could not be fetched.
        """
        strings = metadata.get("stuff_classes") or metadata.get("thing_classes")
        if not strings:
            raise ValueError(f'dataset "{metadata.get("name")}" names no classes; set stuff_classes in its metadata')
        stem = metadata.get("vocabulary")
        if vocabulary_dir and stem:
            strings = _strings_from_directory(vocabulary_folder(vocabulary_dir), stem, metadata.vocabulary_ids)
        colors = metadata.get("stuff_colors") or metadata.get("thing_colors") or [None] * len(strings)
        thing_map = metadata.get("thing_dataset_id_to_contiguous_id")
        things = set(range(len(strings)) if thing_map is None else thing_map.values())
        categories = (
            Category(split_synonyms(string), index in things, None if color is None else tuple(color))
            for index, (string, color) in enumerate(zip(strings, colors, strict=True))
        )
        return cls(tuple(categories))

    def __len__(self) -> int:
        return len(self.categories)

    def __add__(self, other: Vocabulary) -> Vocabulary:
        return Vocabulary(self.categories + other.categories)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every synonym of every class, in order."""
        return tuple(name for category in self.categories for name in category.names)

    @cached_property
    def class_of_name(self) -> tuple[int, ...]:
        """The class index of each entry of :attr:`names`."""
        return tuple(index for index, category in enumerate(self.categories) for _ in category.names)

    @cached_property
    def thing_ids(self) -> frozenset[int]:
        return frozenset(index for index, category in enumerate(self.categories) if category.is_thing)

    @property
    def class_strings(self) -> list[str]:
        """One string of comma-separated synonyms a class, as dataset metadata holds them."""
        return [",".join(category.names) for category in self.categories]

    def seen_in(self, training: Vocabulary) -> list[bool]:
        """Which classes share a name, letter by letter, with a class of the training vocabulary."""
        known = set(training.names)
        return [not known.isdisjoint(category.names) for category in self.categories]


def split_synonyms(string: str) -> tuple[str, ...]:
    """Split a dataset's class string as the published code does: at "," or ", ", nothing else is stripped."""
    return tuple(string.replace(", ", ",").split(","))


def read_vocabulary_file(path: str | Path) -> dict[int, str]:
    """Read a numbered vocabulary file (``id:name,synonym,...`` a line) as it is written.

    Returns:
        The class strings by id; lines whose name is ``invalid_class_id`` are left out.

    Raises:
        FileNotFoundError, ValueError: if the file is missing, is not UTF-8, or a line has no number.
    """
    strings: dict[int, str] = {}
    for number, line in enumerate(_read_text(Path(path)).splitlines(), start=1):
        match = _NUMBERED_LINE.match(line)
        if match is None:
            raise ValueError(f'{path}, line {number}: expected "id:name,synonym", found "{line[:60]}"')
        if match.group(2) != INVALID_CLASS:
            strings[int(match.group(1))] = match.group(2)
    return strings


def _parse_category(string: str) -> Category:
    body, separator, kind = string.partition("=")
    kind = kind.strip().lower()
    if separator and kind not in ("stuff", "thing"):
        raise ValueError(f'"{string.strip()}" should end in =stuff or =thing, not in "={kind}"')
    names = tuple(name.strip() for name in body.split(","))
    for name in names:
        if not name:
            raise ValueError(f'"{string.strip()}" has an empty name; write names between commas, like "cat,kitten"')
        if len(name) > MAX_NAME_CHARACTERS:
            raise ValueError(f'the name "{name[:40]}..." is longer than {MAX_NAME_CHARACTERS} characters; shorten it')
    return Category(names, is_thing=kind != "stuff")


def _strings_from_directory(directory: Path, stem: str, ids: Sequence[int]) -> list[str]:
    candidates = [directory / f"{stem}{PUBLISHED_SUFFIX}.txt", directory / f"{stem}.txt"]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{directory} has neither {candidates[0].name} nor {candidates[1].name}; add one of them"
        )
    strings = read_vocabulary_file(path)
    missing = [index for index in ids if index not in strings]
    if missing:
        raise ValueError(f"{path} has no line for class {missing[0]} ({len(missing)} of {len(ids)} are missing)")
    return [strings[index] for index in ids]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no vocabulary file {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a vocabulary file") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text; save it as UTF-8") from None
