"""What may have been meant otherwise in a vocabulary: told, never refused."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations

from fcclip.data.builtin_vocabularies import BUILTIN_VOCABULARIES, builtin_vocabulary
from fcclip.vocabulary import Vocabulary

MOST_HINTS = 5  # more would not be read

_ARTICLE = re.compile(r"(a|an|the)\s+", re.IGNORECASE)


def vocabulary_hints(vocabulary: Vocabulary) -> tuple[str, ...]:
    """What may have been meant otherwise, one sentence each, at most `MOST_HINTS`.

    Example:
        >>> vocabulary_hints(Vocabulary.from_string("cat; cats"))
        ('"cat" and "cats" are two classes, which are hard to tell apart; if they are one, write "cat,cats"',)
    """
    return tuple([*_classes_as_synonyms(vocabulary), *_alike(vocabulary), *_unmarked(vocabulary)][:MOST_HINTS])


def _classes_as_synonyms(vocabulary: Vocabulary) -> Iterator[str]:
    """Classes that were probably meant to be several."""
    first = vocabulary.categories[0]
    if len(vocabulary) == 1 and len(first.names) > 1:
        yield f'"," is between synonyms of one class; for {len(first.names)} classes write "{"; ".join(first.names)}"'
        return
    for category in vocabulary.categories:
        found = _listed_apart(category.names)
        if found is not None:
            one, other, where = found
            yield f'"{one}" and "{other}" are synonyms here, but two classes of {where}; for two write "{one}; {other}"'


def _listed_apart(names: Sequence[str]) -> tuple[str, str, str] | None:
    """Two of the names that are classes of their own in a shipped list, and synonyms in none."""
    for one, other in combinations(names, 2):
        apart = []
        for title, classes in _listed_classes().items():
            first, second = classes.get(one.casefold()), classes.get(other.casefold())
            if first is None or second is None:
                continue
            if not first.isdisjoint(second):
                break
            apart.append(title)
        else:
            if apart:
                return one, other, apart[0]
    return None


@cache
def _listed_classes() -> dict[str, dict[str, set[int]]]:
    """For each shipped list, the classes of each name."""
    titles = {"coco": "COCO", "ade": "ADE20K", "lvis": "LVIS"}
    lists: dict[str, dict[str, set[int]]] = {}
    for key in BUILTIN_VOCABULARIES:
        classes = lists[titles[key]] = {}
        for index, category in enumerate(builtin_vocabulary(key).categories):
            for name in category.names:
                classes.setdefault(name.strip().casefold(), set()).add(index)
    return lists


def _alike(vocabulary: Vocabulary) -> Iterator[str]:
    """Names of two classes that differ in their number, an article, a hyphen or a space."""
    seen: dict[str, tuple[int, str]] = {}
    for index, category in enumerate(vocabulary.categories):
        for name in category.names:
            first, other = seen.setdefault(_plain(name), (index, name))
            if first != index:
                yield (
                    f'"{other}" and "{name}" are two classes, which are hard to tell apart; if they are one, write '
                    f'"{other},{name}"'
                )


def _unmarked(vocabulary: Vocabulary) -> Iterator[str]:
    """Things that the shipped lists have as stuff only, in one sentence."""
    kinds = _listed_kinds()
    names = [c.names[0] for c in vocabulary.categories if c.is_thing and kinds.get(c.names[0].casefold()) == {False}]
    if names:
        quoted = ", ".join(f'"{name}"' for name in names[:MOST_HINTS])
        rest = f" and {len(names) - MOST_HINTS} more" if len(names) > MOST_HINTS else ""
        yield (
            f"{quoted}{rest}: objects here, to be told apart, and stuff in COCO or ADE20K; for one region per image "
            f'write "{names[0]}=stuff"'
        )


@cache
def _listed_kinds() -> dict[str, set[bool]]:
    """For each name of the shipped lists, whether it is a thing, stuff, or both."""
    kinds: dict[str, set[bool]] = {}
    for key in BUILTIN_VOCABULARIES:
        for category in builtin_vocabulary(key).categories:
            for name in category.names:
                kinds.setdefault(name.strip().casefold(), set()).add(category.is_thing)
    return kinds


def _plain(name: str) -> str:
    """A name in the singular, without its article and what is between words."""
    bare = _ARTICLE.sub("", name.strip().casefold(), count=1) if _ARTICLE.match(name.strip()) else name.casefold()
    return _singular("".join(letter for letter in bare if letter.isalnum()) or bare)


def _singular(word: str) -> str:
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
