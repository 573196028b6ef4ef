"""Class names given by the user: a vocabulary is an ordered list of categories, each with its synonyms."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fcclip.files.name_lists import name_list_of, parse_name_list, read_name_list
from fcclip.files.vocabularies import vocabulary_folder

MAX_NAME_CHARACTERS = 200
PUBLISHED_SUFFIX = "_with_prompt_eng"

_FILE_NAME = re.compile(r"[^;,\n]+\.(txt|csv|tsv|json|ya?ml|names)", re.IGNORECASE)
# Zero-width and soft spaces, marks of direction: nobody sees them. Joiners stay, as scripts and emoji need them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_JOINERS = "\u200c\u200d\ufe0f"


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
        if not self.names or not all(isinstance(name, str) and name.strip() for name in self.names):
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
    def of(cls, value: VocabularyLike) -> Vocabulary:
        """The vocabulary that a user means: text, the path of a file, a list or dictionary, or one that is ready.

        Raises:
            ValueError: it names no classes, or a name is empty, over-long or given twice.
            FileNotFoundError: there is no such file.

        Example:
            >>> Vocabulary.of({0: "cat", 1: "dog"}).names
            ('cat', 'dog')
        """
        if isinstance(value, Vocabulary):
            return value
        if isinstance(value, str):
            return cls.from_string(value)
        if isinstance(value, Path):
            return cls.from_file(value)
        if isinstance(value, Category):
            return cls((value,))
        if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes | bytearray):
            value = list(value)
            if value and all(isinstance(item, Category) for item in value):
                return cls(tuple(value))
        return cls.from_class_strings(name_list_of(value).strings)

    @classmethod
    def from_string(cls, text: str) -> Vocabulary:
        """Parse `"cat,kitten; sky=stuff; forklift"`: classes by ";", synonyms by ",", things unless "=stuff".

        Lines, JSON, CSV and YAML are understood too: see `fcclip.files.name_lists.parse_name_list`.
        """
        if _FILE_NAME.fullmatch(text.strip()):
            raise ValueError(
                f'"{text.strip()[:60]}" is the name of a file; to read it, give a pathlib.Path, or --vocabulary-file'
            )
        return cls.from_class_strings(parse_name_list(text).strings)

    @classmethod
    def from_file(cls, path: str | Path) -> Vocabulary:
        """The classes of a file of names (see `read_names`), with `=stuff` after stuff as in `from_string`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no file of names, or a name is empty, over-long or given twice; names the file.
        """
        return Vocabulary(read_names(path).categories)

    @classmethod
    def from_class_strings(cls, strings: Iterable[str]) -> Vocabulary:
        """Build from user-written class strings, strictly: no empty, over-long or repeated names.

        Names that look or mean the same in Unicode are the same; see `clean_name`.
        """
        categories = tuple(_parse_category(string) for string in strings)
        seen: dict[str, str] = {}
        for category in categories:
            for name in category.names:
                key = unicodedata.normalize("NFKC", name).casefold()
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
            metadata: has `stuff_classes` (things and stuff) or, without it, `thing_classes`: one string of
                comma-separated synonyms per class.
            vocabulary_dir: a folder of vocabulary files to take the names from instead, or "published" for those of the
                FC-CLIP release, which are fetched once; used for datasets that name their file (attribute
                `vocabulary`).

        Raises:
            ValueError: if the metadata names no classes, or a file lacks a class.
            FileNotFoundError: if `vocabulary_dir` lacks the dataset's file.
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
        """The class index of each entry of `names`."""
        return tuple(index for index, category in enumerate(self.categories) for _ in category.names)

    @cached_property
    def thing_ids(self) -> frozenset[int]:
        return frozenset(index for index, category in enumerate(self.categories) if category.is_thing)

    @property
    def class_strings(self) -> list[str]:
        """For each class one string of comma-separated synonyms, as dataset metadata holds them."""
        return [",".join(category.names) for category in self.categories]

    def describe(self, most: int = 20) -> str:
        """What was understood, in one line, for people to check: the first `most` classes with their synonyms.

        Example:
            >>> Vocabulary.from_string("red circle, white cross; grass=stuff").describe()
            '2 classes: red circle (also: white cross); grass (stuff)'
        """
        parts = []
        for category in self.categories[:most]:
            notes = ["stuff"] * (not category.is_thing) + [f"also: {', '.join(category.names[1:])}"] * (
                len(category.names) > 1
            )
            parts.append(category.name + (f" ({'; '.join(notes)})" if notes else ""))
        more = [f"and {len(self) - most} more"] * (len(self) > most)
        return f"{len(self)} {'class' if len(self) == 1 else 'classes'}: {'; '.join([*parts, *more])}"

    @cached_property
    def hints(self) -> tuple[str, ...]:
        """What may have been meant otherwise, one sentence each."""
        first = self.categories[0]
        if len(self) > 1 or len(first.names) == 1:
            return ()
        return (
            f'"," is between synonyms of one class; for {len(first.names)} classes write "{"; ".join(first.names)}"',
        )

    def seen_in(self, training: Vocabulary) -> list[bool]:
        """Which classes share a name, letter by letter, with a class of the training vocabulary."""
        known = set(training.names)
        return [not known.isdisjoint(category.names) for category in self.categories]


def split_synonyms(string: str) -> tuple[str, ...]:
    """Split a dataset's class string as the published code does: at "," or ", ", nothing else is stripped."""
    return tuple(string.replace(", ", ",").split(","))


@dataclass(frozen=True)
class NamesFile:
    """A file of names, as `read_names` read it.

    Attributes:
        path: the file.
        ids: the numbers that its lines begin with, ascending; None if they have none.
        strings: the names of each class as they are written, separated by commas, in the order of `ids` or the lines.
    """

    path: Path
    ids: tuple[int, ...] | None
    strings: tuple[str, ...]

    @cached_property
    def categories(self) -> tuple[Category, ...]:
        """The classes, strictly parsed.

        Raises:
            ValueError: there is none, or a name is empty, over-long or given twice.
        """
        try:
            return Vocabulary.from_class_strings(self.strings).categories
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def by_id(self) -> dict[int, str]:
        """The string of each number.

        Raises:
            ValueError: the lines have no numbers.
        """
        if self.ids is None:
            raise ValueError(f'{self.path}: the lines have no numbers; write "number:name,synonym" on each')
        return dict(zip(self.ids, self.strings, strict=True))

    def require_labels(self) -> None:
        """Make sure that the label of a class is its position: lines without numbers, or numbered 0, 1, 2, ...

        Raises:
            ValueError: the numbers are others.
        """
        count = len(self.strings)
        if self.ids is not None and self.ids != tuple(range(count)):
            raise ValueError(
                f"{self.path} numbers its {count} classes {self.ids[0]}..{self.ids[-1]}, but the values of label maps "
                f"must be 0..{count - 1}; make such with `python datasets/prepare_own_label_maps.py`"
            )


def read_names(path: str | Path) -> NamesFile:
    """Read a file with one class per line: `name,synonym,...`, or on every line `number:name,synonym,...`.

    Blank lines, lines that start with `#` and numbers whose name is `invalid_class_id` are skipped. Numbered classes
    are sorted by their numbers. JSON, CSV and YAML are understood too: see `fcclip.files.name_lists.read_name_list`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not UTF-8, names no class, numbers only some lines, or gives a number twice.
    """
    names = read_name_list(path)
    if not names.strings:
        raise ValueError(f"{path} names no class; write one class per line, with synonyms after commas")
    return NamesFile(Path(path), names.ids, names.strings)


def clean_name(name: str) -> str:
    """A name as CLIP is to read it: white space is one space, what is invisible goes, letters are composed (NFC).

    Raises:
        ValueError: it has control characters, or halves of characters.
    """
    name = unicodedata.normalize("NFC", _INVISIBLE.sub("", " ".join(name.split())))
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cs"):
            shown = "".join(other if other.isprintable() else "?" for other in name[:40])
            raise ValueError(f'the name "{shown}" has the control character U+{ord(character):04X}; remove it')
    return name if name.strip(_JOINERS + " ") else ""


def _parse_category(string: str) -> Category:
    if not isinstance(string, str):
        raise ValueError(f'a class is text like "cat,kitten", not {string!r}')
    if ";" in string:
        raise ValueError(f'the class "{string[:60]}" has ";" in it, which is between classes; give each on its own')
    body, separator, kind = string.partition("=")
    kind = kind.strip().lower()
    if separator and kind not in ("stuff", "thing"):
        raise ValueError(f'"{string.strip()[:60]}" should end in =stuff or =thing, not in "={kind[:60]}"')
    names = tuple(clean_name(_without_quotes(name)) for name in body.split(","))
    for name in names:
        if not name:
            raise ValueError(
                f'"{string.strip()[:60]}" has an empty name; write names between commas, like "cat,kitten"'
            )
        if len(name) > MAX_NAME_CHARACTERS:
            raise ValueError(f'the name "{name[:40]}..." is longer than {MAX_NAME_CHARACTERS} characters; shorten it')
    return Category(names, is_thing=kind != "stuff")


def _without_quotes(name: str) -> str:
    name = name.strip()
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" else name


def _strings_from_directory(directory: Path, stem: str, ids: Sequence[int]) -> list[str]:
    candidates = [directory / f"{stem}{PUBLISHED_SUFFIX}.txt", directory / f"{stem}.txt"]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"{directory} has neither {candidates[0].name} nor {candidates[1].name}; add one of them"
        )
    strings = read_names(path).by_id()
    missing = [index for index in ids if index not in strings]
    if missing:
        raise ValueError(f"{path} has no line for class {missing[0]} ({len(missing)} of {len(ids)} are missing)")
    return [strings[index] for index in ids]


# What `Vocabulary.of` takes.
VocabularyLike = Vocabulary | str | Path | Mapping[Any, Any] | Iterable[Any]
