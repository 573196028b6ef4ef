"""Class names given by the user: a vocabulary is an ordered list of categories, each with its synonyms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fcclip.files.name_lists import name_list_of, parse_name_list, read_name_list
from fcclip.files.vocabularies import vocabulary_folder
from fcclip.vocabulary.category import Category, clean_name, parse_category, parse_negatives, same_name, split_synonyms

__all__ = ["Category", "NamesFile", "Vocabulary", "VocabularyLike", "clean_name", "read_names", "split_synonyms"]

EVERYTHING_ELSE = "everything else"  # among negatives: what the model was trained on and nobody asked for
PUBLISHED_SUFFIX = "_with_prompt_eng"

_FILE_NAME = re.compile(r"[^;,\n]+\.(txt|csv|tsv|json|ya?ml|names)", re.IGNORECASE)


@dataclass(frozen=True)
class Vocabulary:
    """The classes that a model is asked for; a class's position is its contiguous id.

    Args:
        categories: the classes.
        negatives: names that nothing is to be called: what fits them better than any class is left out.
        everything_else: names that the model was trained on count as negatives too.

    Raises:
        ValueError: if there is no class.

    Examples:
        >>> words = Vocabulary.of("cat,kitten; dog>0.6; sky=stuff; not: wolf")
        >>> words.names
        ('cat', 'kitten', 'dog', 'sky')
        >>> sorted(words.thing_ids), words.thresholds, words.negatives
        ([0, 1], (0.0, 0.6, 0.0), ('wolf',))
    """

    categories: tuple[Category, ...]
    negatives: tuple[str, ...] = ()
    everything_else: bool = False

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError('the vocabulary has no classes; pass names like "cat,kitten; sky=stuff"')

    @classmethod
    def of(cls, value: VocabularyLike) -> Vocabulary:
        """The vocabulary that a user means: text, the path of a file, a list or dictionary, or one that is ready.

        Raises:
            ValueError: it names no classes, or a name is empty, over-long or given twice.
            FileNotFoundError: there is no such file.

        Examples:
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
        """Parse `"cat,kitten; sky=stuff; forklift>0.6"`: classes by ";", synonyms by ",", things unless "=stuff".

        ">0.6" is the least score of a class. "not: wolf, fox" are names that nothing is to be called, and
        "not: everything else" all names that the model was trained on and that are not asked for.
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
        return read_names(path).vocabulary

    @classmethod
    def from_class_strings(cls, strings: Iterable[str]) -> Vocabulary:
        """Build from user-written class strings, strictly: no empty, over-long or repeated names.

        Names that look or mean the same in Unicode are the same; see `clean_name`.
        """
        categories: list[Category] = []
        negatives: list[str] = []
        for string in strings:
            names = parse_negatives(string)
            if names is None:
                categories.append(parse_category(string))
            else:
                negatives += names
        _refuse_repeated(categories, negatives)
        others = tuple(name for name in negatives if name.casefold() != EVERYTHING_ELSE)
        return cls(tuple(categories), others, everything_else=len(others) < len(negatives))

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
        return Vocabulary(
            self.categories + other.categories,
            self.negatives + other.negatives,
            self.everything_else or other.everything_else,
        )

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

    @cached_property
    def thresholds(self) -> tuple[float, ...] | None:
        """The least score of each class; None if no class has one."""
        values = tuple(category.threshold for category in self.categories)
        return values if any(values) else None

    @property
    def class_strings(self) -> list[str]:
        """For each class one string of comma-separated synonyms, as dataset metadata holds them."""
        return [",".join(category.names) for category in self.categories]

    def describe(self, most: int = 20) -> str:
        """What was understood, in one line, for people to check: the first `most` classes with their synonyms.

        Examples:
            >>> Vocabulary.from_string("red circle, white cross; grass=stuff").describe()
            '2 classes: red circle (also: white cross); grass (stuff)'
        """
        parts = []
        for category in self.categories[:most]:
            notes = ["stuff"] * (not category.is_thing) + [f"also: {', '.join(category.names[1:])}"] * (
                len(category.names) > 1
            )
            notes += [f"from a score of {category.threshold:g}"] * (category.threshold > 0)
            parts.append(category.name + (f" ({'; '.join(notes)})" if notes else ""))
        more = [f"and {len(self) - most} more"] * (len(self) > most)
        negatives = [*self.negatives, *[EVERYTHING_ELSE] * self.everything_else]
        more += [f"not: {', '.join(negatives)}"] * bool(negatives)
        return f"{len(self)} {'class' if len(self) == 1 else 'classes'}: {'; '.join([*parts, *more])}"

    def require_plain(self) -> None:
        """Refuse what only a model with masks can do.

        Raises:
            ValueError: there are negatives or thresholds.
        """
        if self.negatives or self.everything_else or self.thresholds:
            raise ValueError(
                'this model gives every pixel a class, so that "not:" and thresholds like "cat>0.6" cannot be used; '
                "leave them out, or take an FC-CLIP"
            )

    def seen_in(self, training: Vocabulary) -> list[bool]:
        """Which classes share a name, letter by letter, with a class of the training vocabulary."""
        known = set(training.names)
        return [not known.isdisjoint(category.names) for category in self.categories]


@dataclass(frozen=True)
class NamesFile:
    """A file of names, as `read_names` read it.

    Attributes:
        path: the file.
        ids: the numbers that its lines begin with, ascending; None if they have none.
        strings: the names of each class as they are written, separated by commas, in the order of `ids` or the lines.

    Examples:
        >>> names = NamesFile(Path("names.txt"), (0, 1), ("cat,kitten", "sky=stuff"))
        >>> names.vocabulary.names
        ('cat', 'kitten', 'sky')
        >>> names.by_id()
        {0: 'cat,kitten', 1: 'sky=stuff'}
    """

    path: Path
    ids: tuple[int, ...] | None
    strings: tuple[str, ...]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """What the file says, strictly parsed.

        Raises:
            ValueError: there is no class, or a name is empty, over-long or given twice.
        """
        try:
            return Vocabulary.from_class_strings(self.strings)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    @property
    def categories(self) -> tuple[Category, ...]:
        """The classes of a dataset.

        Raises:
            ValueError: as for `vocabulary`, or the file has what is no class.
        """
        if len(self.vocabulary) < len(self.strings):
            raise ValueError(f'{self.path} has "not:" in it, which the names of a dataset cannot have; remove it')
        return self.vocabulary.categories

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

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "names.txt")
        ...     _ = path.write_text("7:cat,kitten\\n3:sky=stuff\\n", encoding="utf-8")
        ...     read_names(path).ids
        (3, 7)
    """
    names = read_name_list(path)
    if not names.strings:
        raise ValueError(f"{path} names no class; write one class per line, with synonyms after commas")
    return NamesFile(Path(path), names.ids, names.strings)


def _refuse_repeated(categories: Sequence[Category], negatives: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    places = [
        (name, f'class {number} ("{",".join(category.names)[:60]}")')
        for number, category in enumerate(categories, start=1)
        for name in category.names
    ]
    for name, place in [*places, *((name, '"not:"') for name in negatives)]:
        first = seen.setdefault(same_name(name), place)
        if first is not place:
            raise ValueError(f'the name "{name}" is given twice, in {first} and in {place}; remove one')


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
