"""One class as people write it: "cat,kitten>0.6", "sky=stuff"."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MAX_NAME_CHARACTERS = 200

# Zero-width and soft spaces, marks of direction: nobody sees them. Joiners stay, as scripts and emoji need them.
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_JOINERS = "\u200c\u200d\ufe0f"
_NEGATIVES = re.compile(r"\s*not\s*:(.*)", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"\s*([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*")


@dataclass(frozen=True)
class Category:
    """One class: its synonyms, the first of which is displayed.

    Args:
        names: at least one name; every name becomes a set of prompts, and the best matching one counts.
        is_thing: countable objects (a segment each) or stuff (one segment per image).
        color: RGB, 0..255, or None to have one chosen.
        threshold: least score of what is called so, 0..1.

    Raises:
        ValueError: a name is empty, or the threshold is out of range.

    Examples:
        >>> Category(("wall", "brick wall"), is_thing=False, color=(200, 80, 60)).name
        'wall'
    """

    names: tuple[str, ...]
    is_thing: bool = True
    color: tuple[int, int, int] | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not self.names or not all(isinstance(name, str) and name.strip() for name in self.names):
            raise ValueError(f"a class has an empty name among {list(self.names)}; every class needs a name")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f'the threshold of "{self.names[0]}" is {self.threshold}; give a number from 0 to 1')

    @property
    def name(self) -> str:
        return self.names[0]


def split_synonyms(string: str) -> tuple[str, ...]:
    """Split a dataset's class string as the published code does: at "," or ", ", nothing else is stripped."""
    return tuple(string.replace(", ", ",").split(","))


def clean_name(name: str) -> str:
    """A name as CLIP is to read it: white space is one space, what is invisible goes, letters are composed (NFC).

    Raises:
        ValueError: it has control characters, or halves of characters.
    """
    name = unicodedata.normalize("NFC", " ".join(_INVISIBLE.sub("", name).split()))
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cs"):
            shown = "".join(other if other.isprintable() else "?" for other in name[:40])
            raise ValueError(f'the name "{shown}" has the control character U+{ord(character):04X}; remove it')
    return name if name.strip(_JOINERS + " ") else ""


def parse_category(string: str) -> Category:
    """A class as users write it: names between commas, then `=stuff` or `=thing`, and `>0.6`, if any.

    Raises:
        ValueError: a name is empty or over-long, or an ending is not understood.
    """
    if not isinstance(string, str):
        raise ValueError(f'a class is text like "cat,kitten", not {string!r}')
    if ";" in string:
        raise ValueError(f'the class "{string[:60]}" has ";" in it, which is between classes; give each on its own')
    body, *endings = re.split("([=>])", string)
    is_thing, threshold = True, 0.0
    for sign, value in zip(endings[::2], endings[1::2], strict=True):
        if sign == "=":
            is_thing = _kind(value, string) == "thing"
        else:
            threshold = _threshold(value, string)
    return Category(parse_names(body, string), is_thing, threshold=threshold)


def parse_negatives(string: str) -> tuple[str, ...] | None:
    """The names of "not: wolf, fox", which are to be told apart from the classes; None of a class.

    Raises:
        ValueError: a name is empty or over-long.
    """
    match = _NEGATIVES.fullmatch(string) if isinstance(string, str) else None
    return None if match is None else parse_names(match[1], string)


def parse_names(body: str, string: str) -> tuple[str, ...]:
    """Names between commas, cleaned; `string` is what an error quotes.

    Raises:
        ValueError: a name is empty or over-long.
    """
    names = tuple(clean_name(_without_quotes(name)) for name in body.split(","))
    for name in names:
        if not name:
            raise ValueError(
                f'"{string.strip()[:60]}" has an empty name; write names between commas, like "cat,kitten"'
            )
        if len(name) > MAX_NAME_CHARACTERS:
            raise ValueError(f'the name "{name[:40]}..." is longer than {MAX_NAME_CHARACTERS} characters; shorten it')
    return names


def same_name(name: str) -> str:
    """What two names have in common that look or mean the same in Unicode."""
    return unicodedata.normalize("NFKC", name).casefold()


def _kind(value: str, string: str) -> str:
    kind = value.strip().lower()
    if kind not in ("stuff", "thing"):
        raise ValueError(f'"{string.strip()[:60]}" should end in =stuff or =thing, not in "={kind[:60]}"')
    return kind


def _threshold(value: str, string: str) -> float:
    if not _NUMBER.fullmatch(value) or float(value) > 1:
        raise ValueError(
            f'"{string.strip()[:60]}" should end in a score from 0 to 1, like >0.6, not in ">{value.strip()[:40]}"'
        )
    return float(value)


def _without_quotes(name: str) -> str:
    name = name.strip()
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "\"'" else name
